mod plans;
mod pods_of_versions;
mod restricted;
mod running;
pub(crate) mod server;
mod waypoints;

use super::{Parameters, Settings};
use crate::name;
use crate::provision::{Owner, Proxy, ProxyClass, ProxyService, Transport, Want};
use fairway_config::model::ObjectName;
use fairway_identity::TrustBundle;
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use std::sync::Arc;

/// A Gateway's proxy with one port.
pub(crate) fn proxy(name: &str) -> Proxy {
    let service_account: Arc<str> = name::of_proxy(name, "fairway").into();
    Proxy {
        name: ObjectName::new("edge", name),
        class: ProxyClass::Gateway,
        gateway_class: "fairway".into(),
        want: Want::Run,
        owner: Some(Owner { uid: format!("uid-of-{}", &name[..name.len().min(20)]).into() }),
        implied: false,
        identity: format!("spiffe://cluster.local/ns/edge/sa/{service_account}").parse().unwrap(),
        services: vec![ProxyService::usual(&service_account)],
        service_account,
        listeners: vec![("http".into(), 80)],
        ports: vec![(80, Transport::Tcp)],
        parameters: Arc::default(),
        labels: Vec::new(),
        annotations: Vec::new(),
    }
}

/// A waypoint that nobody wrote a Gateway for.
fn waypoint() -> Proxy {
    Proxy {
        class: ProxyClass::Waypoint,
        gateway_class: "fairway-waypoint".into(),
        owner: None,
        implied: true,
        service_account: "waypoint-fairway-waypoint".into(),
        services: vec![ProxyService::usual(&"waypoint-fairway-waypoint".into())],
        identity: "spiffe://cluster.local/ns/edge/sa/waypoint-fairway-waypoint".parse().unwrap(),
        ports: vec![(15008, Transport::Tcp)],
        ..proxy("waypoint")
    }
}

fn parameters(value: Value) -> Arc<Parameters> {
    Arc::new(Parameters::resolve(None, Some(&serde_json::from_value(value).unwrap())).unwrap())
}

pub(crate) fn roots(word: &str) -> TrustBundle {
    let root = CertificateDer::from(word.as_bytes().to_vec());
    TrustBundle { trust_domain: "cluster.local".parse().unwrap(), roots: vec![root], revision: 1 }
}

fn settings() -> Settings {
    Settings::new(
        "ghcr.io/fairway-dev/fairway-waypoint:1",
        "https://fairway-controller.fairway-system.svc:15010",
    )
}
