//! Where a Gateway listens and where it is reached.

use crate::compile::evaluation::Evaluation;
use crate::compile::output::ProxyClass;
use crate::compile::proxy;
use crate::compile::reader::Reader;
use crate::compile::settings::Mode;
use crate::compile::waypoint;
use crate::name;
use crate::resources::{Address, Gateway, Kind, ObjectRef, Service};
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
    pub assigned: Vec<Address>,
    /// What is wrong with a type of address the user asked for.
    pub unsupported: Option<String>,
    /// What is wrong with an address the user asked for.
    pub unusable: Option<String>,
}

/// How many addresses a status may show.
const SHOWN: usize = 16;

// === impl Addresses ===

impl Addresses {
    /// Whether it is reached where it should be.
    pub(super) fn are_settled(&self) -> bool {
        self.unusable.is_none() && !self.assigned.is_empty()
    }
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
    let mut fields = Vec::new();
    let object = ObjectRef::of(Kind::Gateway, name);
    for (index, it) in gateway.spec.addresses.iter().flatten().enumerate() {
        let field = format!("spec.addresses[{index}]");
        let value = it.value.as_deref().unwrap_or_default();
        match it.r#type.as_deref().unwrap_or("IPAddress") {
            // Empty: any address will do (GatewayAddressEmpty).
            "IPAddress" if value.is_empty() => {}
            "IPAddress" => match value.parse() {
                Ok(address) => {
                    addresses.written.push(address);
                    fields.push(field);
                }
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
    match reader.settings().mode {
        Mode::Standalone => on_one_machine(reader, name, class, &mut addresses),
        Mode::Kubernetes => by_services(reader, name, class, &fields, &mut addresses),
    }
    addresses.assigned.truncate(SHOWN);
    addresses
}

fn on_one_machine(reader: &mut Reader<'_>, name: &ObjectName, class: ProxyClass, addresses: &mut Addresses) {
    let settings = reader.settings();
    let pods = reader.proxy_pods(name);
    if !pods.pods.is_empty() {
        // The proxy has a network of its own.
        addresses.assigned = pods.pods.iter().map(|it| Address::Ip(it.address)).collect();
        return;
    }
    addresses.bound = match (class, addresses.written.is_empty()) {
        (ProxyClass::Waypoint, _) => waypoint::standalone_addresses(name, &addresses.written, &settings),
        (ProxyClass::Gateway, true) => settings.default_addresses.clone(),
        (ProxyClass::Gateway, false) => addresses.written.clone(),
    };
    addresses.assigned = addresses.bound.iter().copied().map(Address::Ip).collect();
}

/// In a cluster a Gateway is reached through its proxy's Services: each address that is asked for has its own, and one
/// there is always (see `provision`).
fn by_services(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    class: ProxyClass,
    fields: &[String],
    addresses: &mut Addresses,
) {
    let proxy = proxy::service_account(name, class, &reader.settings());
    for index in 0..addresses.written.len().max(1) {
        let service: String = match index {
            0 => proxy.to_string(),
            further => name::of_further_service(&proxy, further + 1),
        };
        let service = ObjectName::new(name.namespace.clone(), service);
        let found = reader.service(&service).map(|it| reached_at(&it)).unwrap_or_default();
        if let (Some(asked), Some(field)) = (addresses.written.get(index), fields.get(index))
            && !found.contains(&Address::Ip(*asked))
        {
            let has: Vec<String> = found.iter().map(ToString::to_string).collect();
            let has = if has.is_empty() { "no address".to_owned() } else { has.join(", ") };
            addresses.unusable.get_or_insert(format!(
                "{field}: {asked} is not assigned: Service {service} has {has}; use an address that the cluster's load \
                 balancer can give to it"
            ));
        }
        for it in found {
            if !addresses.assigned.contains(&it) {
                addresses.assigned.push(it);
            }
        }
    }
}

/// Where a Service is reached: from outside if it has a load balancer, else by its cluster IPs.
fn reached_at(service: &Service) -> Vec<Address> {
    match &service.load_balancer {
        Some(ingress) => ingress.clone(),
        None => service.cluster_ips.iter().copied().map(Address::Ip).collect(),
    }
}
