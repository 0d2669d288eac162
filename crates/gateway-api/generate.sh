#!/usr/bin/env bash
# Generates src/*.rs from the Gateway API CRDs of the version named here (experimental channel: the superset).
# Needs go (the CRDs come as a Go module) and kopium (`cargo install kopium`). Run it when the version moves.
set -euo pipefail
cd "$(dirname "$0")"
version=v1.7.0
export GOFLAGS=-mod=mod GOTOOLCHAIN=auto
crds=$(cd "$(mktemp -d)" && go mod download -json "sigs.k8s.io/gateway-api@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')/config/crd/experimental
for kind in gatewayclasses gateways httproutes grpcroutes referencegrants listenersets tlsroutes tcproutes udproutes backendtlspolicies; do
  kopium -f "$crds/gateway.networking.k8s.io_$kind.yaml" --schema=disabled --derive=Default --derive=PartialEq --api-version=v1 |
    sed '/^\/\/ kopium command/d' > "src/$kind.rs"
  # A struct with a required enum has no default: kopium derives one all the same.
  perl -0777 -i -pe '
    my %enums = map { $_ => 1 } /pub enum (\w+)/g;
    s{(#\[derive\([^\n]*\)\]\n)(pub struct \w+ \{\n.*?\n\})}{
      my ($derive, $body) = ($1, $2);
      $derive =~ s/, Default// if grep { $enums{$_} } $body =~ /pub [\w#]+: (\w+),/g;
      $derive . $body
    }gse' "src/$kind.rs"
done
rustfmt --edition 2024 src/*.rs
