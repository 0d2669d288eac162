//! Where a Gateway listens and where it is reached.

use crate::compile::evaluation::Evaluation;
use crate::compile::output::ProxyClass;
use crate::compile::proxy;
use crate::compile::reader::Reader;
use crate::compile::settings::Mode;
use crate::compile::waypoint;
use crate::resources::{Gateway, Kind, ObjectRef};
use fairway_config::model::ObjectName;
use std::net::IpAddr;

/// Where a Gateway listens and where it is reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Addresses {
    /// What the user asked for.
    pub written: Vec<IpAddr>,
    /// What its listeners bind; none is every address of where the proxy runs.
    pub bound: Vec<IpAddr>,
    /// What its status shows.
    pub assigned: Vec<IpAddr>,
    /// What is wrong with a type of address the user asked for.
    pub unsupported: Option<String>,
    /// What is wrong with an address the user asked for.
    pub unusable: Option<String>,
}

/// Reads `spec.addresses` and finds out what becomes of them.
pub(super) fn of(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    class: ProxyClass,
    gateway: &Gateway,
    made: &mut Evaluation,
) -> Addresses {
    let mut addresses = Addresses::default();
    let object = ObjectRef::of(Kind::Gateway, name);
    for (index, it) in gateway.spec.addresses.iter().flatten().enumerate() {
        let field = format!("spec.addresses[{index}]");
        let value = it.value.as_deref().unwrap_or_default();
        match it.r#type.as_deref().unwrap_or("IPAddress") {
            // Empty: any address will do (GatewayAddressEmpty).
            "IPAddress" if value.is_empty() => {}
            "IPAddress" => match value.parse() {
                Ok(address) => addresses.written.push(address),
                Err(_) => {
                    let message = format!("`{value}` is not an IP address");
                    made.error(&object, &*field, &*message, "write an IPv4 or IPv6 address");
                    addresses
                        .unusable
                        .get_or_insert(format!("{field}: {message}; write an IPv4 or IPv6 address"));
                }
            },
            other => {
                let message = format!("addresses of type {other} are not supported");
                made.error(&object, &*field, &*message, "use type IPAddress, or leave the address out");
                addresses.unsupported.get_or_insert(format!("{field}: {message}; use type IPAddress"));
            }
        }
    }
    let settings = reader.settings();
    let pods = reader.proxy_pods(name);
    match (settings.mode, pods.pods.is_empty()) {
        // The proxy has a network of its own.
        (Mode::Standalone, false) => addresses.assigned = pods.pods.iter().map(|it| it.address).collect(),
        (Mode::Standalone, true) => {
            addresses.bound = match (class, addresses.written.is_empty()) {
                (ProxyClass::Waypoint, _) => {
                    waypoint::standalone_addresses(name, &addresses.written, &settings)
                }
                (ProxyClass::Gateway, true) => settings.default_addresses.clone(),
                (ProxyClass::Gateway, false) => addresses.written.clone(),
            };
            addresses.assigned = addresses.bound.clone();
        }
        (Mode::Kubernetes, _) => {
            let account = proxy::service_account(name, class, &settings);
            let service = reader.service(&ObjectName::new(name.namespace.clone(), account));
            addresses.assigned = service.map(|it| it.cluster_ips.clone()).unwrap_or_default();
        }
    }
    addresses
}
