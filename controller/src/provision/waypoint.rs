//! The Gateway of a waypoint that routes ask for and nobody wrote. From then on it is a Gateway like any other.

use super::Settings;
use super::manifest::{Manifest, ManifestKey, ManifestKind};
use super::metadata::{GATEWAY, GATEWAY_NAME, MANAGED_BY, MANAGER};
use crate::name;
use crate::resources::IMPLIED;
use fairway_config::model::ObjectName;
use serde_json::json;

/// The Gateway, as it is to be.
pub(super) fn gateway(waypoint: &ObjectName, settings: &Settings) -> Manifest {
    let ObjectName { namespace, name } = waypoint;
    let key = ManifestKey { kind: ManifestKind::Gateway, namespace: namespace.clone(), name: name.clone() };
    let fields = json!({
        "apiVersion": format!("{}/v1", fairway_gateway_api::GROUP),
        "kind": ManifestKind::Gateway.as_str(),
        "metadata": {
            "name": &**name,
            "namespace": &**namespace,
            "labels": { MANAGED_BY: MANAGER, GATEWAY_NAME: name::as_label(name), "app.kubernetes.io/part-of": "fairway" },
            "annotations": { GATEWAY: &**name, IMPLIED: "true" },
        },
        "spec": {
            "gatewayClassName": settings.waypoint_class,
            "listeners": [{ "name": "mesh", "port": 15008, "protocol": "HBONE" }],
        },
    });
    Manifest { key, gateway: waypoint.clone(), owner: None, fields }
}
