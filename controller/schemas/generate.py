#!/usr/bin/env python3
"""Cuts the Gateway API's CRDs down to what validation needs (types, limits, patterns, defaults) and writes them here.

Usage: generate.py <directory of the CRDs, experimental channel>. Run it together with crates/gateway-api/generate.sh.
"""

import json
import pathlib
import sys

import yaml

KINDS = [
    "backendtlspolicies", "gatewayclasses", "gateways", "grpcroutes", "httproutes", "listenersets", "referencegrants",
    "tcproutes", "tlsroutes", "udproutes",
]
KEEP = {
    "additionalProperties", "default", "enum", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems",
    "minLength", "minimum", "pattern", "properties", "required", "type", "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
}


def cut(schema, names=False):
    """Keeps the keywords of a schema; under `properties` the keys are names and all stay."""
    if not isinstance(schema, dict):
        return schema
    out = {}
    for key, value in schema.items():
        if names:
            out[key] = cut(value)
        elif key in KEEP:
            out[key] = cut(value, names=key == "properties") if key in {"properties", "items", "additionalProperties"} else value
    return out


for kind in KINDS:
    crd = yaml.safe_load(open(f"{sys.argv[1]}/gateway.networking.k8s.io_{kind}.yaml"))
    version = next(it for it in crd["spec"]["versions"] if it["name"] == "v1")
    schema = cut(version["schema"]["openAPIV3Schema"])
    schema["properties"].pop("status", None)
    text = json.dumps(schema, indent=1, sort_keys=True)
    pathlib.Path(__file__).with_name(f"{kind}.json").write_text(text + "\n")
