//! Where a Gateway listens and where it is reached.

use super::waypoint;
use crate::compile::program::{Made, Reader};
use crate::compile::settings::Mode;
use crate::compile::workload::proxy;
use crate::diagnostic::{Diagnostic, Reason};
use crate::name;
use crate::provision::{ProxyClass, ProxyService};
use crate::resources::{Address, AssignedAddress, Gateway, Kind, ObjectRef, Routability, Service};
use fairway_config::model::ObjectName;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Where a Gateway listens and where it is reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Addresses {
    /// The addresses the user wrote, of any that may be given as they are.
    pub written: Vec<IpAddr>,
    /// What its listeners bind; none is every address of where the proxy runs.
    pub bound: Vec<IpAddr>,
    /// The Services of its proxy, in a cluster.
    pub services: Vec<ProxyService>,
    /// What its status shows.
    pub assigned: Vec<AssignedAddress>,
    /// How many entries there are in `spec.addresses`.
    pub asked: usize,
    /// The entries that have no address, and why.
    pub unsatisfied: Vec<String>,
    /// Why it is served nowhere: nobody can give it any of what it asks for. Another address in its place would be one that
    /// its user ruled out (GEP-5093).
    pub nowhere: Option<String>,
    /// What is wrong with a type of address the user asked for.
    pub unsupported: Option<Box<Diagnostic>>,
    /// What is wrong with an address the user asked for.
    pub unusable: Option<String>,
}

/// An entry of `spec.addresses` that may be given an address.
struct Request {
    field: String,
    routability: Routability,
    value: Option<IpAddr>,
}

/// How many addresses a status may show.
const SHOWN: usize = 16;

// === impl Addresses ===

impl Addresses {
    /// Whether it is reached where it should be.
    pub(super) fn are_settled(&self) -> bool {
        self.unusable.is_none() && !self.assigned.is_empty()
    }

    fn give(&mut self, address: Address, routability: Routability) {
        let it = AssignedAddress { address, routability };
        if !self.has(&it.address) && self.assigned.len() < SHOWN {
            self.assigned.push(it);
        }
    }

    fn has(&self, address: &Address) -> bool {
        self.assigned.iter().any(|it| it.address == *address)
    }

    fn leave(&mut self, field: &str, why: &str) {
        self.unsatisfied.push(format!("{field}: {why}"));
    }
}

/// Reads `spec.addresses` and finds out what becomes of them.
pub(super) fn read(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    class: ProxyClass,
    gateway: &Gateway,
    made: &mut Made,
) -> Addresses {
    let mode = reader.settings().mode;
    let mut addresses = Addresses::default();
    let requests = requests(gateway, name, mode, &mut addresses, made);
    if addresses.asked > 0 && requests.is_empty() {
        addresses.nowhere = Some(addresses.unsatisfied.join(". "));
        return addresses;
    }
    match mode {
        Mode::Standalone => on_one_machine(reader, name, class, &requests, &mut addresses),
        Mode::Kubernetes => by_services(reader, name, class, &requests, &mut addresses),
    }
    addresses
}

/// The entries that may be given an address. Each is judged on its own.
fn requests(
    gateway: &Gateway,
    name: &ObjectName,
    mode: Mode,
    addresses: &mut Addresses,
    made: &mut Made,
) -> Vec<Request> {
    let mut requests = Vec::new();
    let object = ObjectRef::from_name(Kind::Gateway, name);
    for (index, it) in gateway.spec.addresses.iter().flatten().enumerate() {
        addresses.asked += 1;
        let field = format!("spec.addresses[{index}]");
        let mut refuse = |addresses: &mut Addresses, error: Diagnostic| {
            addresses.unsatisfied.push(error.text());
            made.report(&object, error);
        };
        let value = it.value.as_deref().unwrap_or_default();
        let r#type = it.r#type.as_deref().unwrap_or("IPAddress");
        if r#type != "IPAddress" {
            let message = format!("addresses of type {type} are not supported");
            let remedy = "use type IPAddress, or remove the address";
            let error = Diagnostic::error(Reason::AddressTypeUnsupported, &*field, message, remedy);
            addresses.unsupported.get_or_insert_with(|| Box::new(error.clone()));
            refuse(addresses, error);
            continue;
        }
        let word = it.routability.as_deref().unwrap_or_default();
        let Some(routability) = Routability::parse(word) else {
            let (message, field) = (
                format!("Fairway cannot assign an address of routability {word}"),
                format!("{field}.routability"),
            );
            let remedy = "use Cluster, or remove the field";
            refuse(addresses, Diagnostic::error(Reason::RoutabilityUnsupported, field, message, remedy));
            continue;
        };
        if mode == Mode::Standalone && routability != Routability::Default {
            let message = format!("there are no addresses of routability {word} outside a cluster");
            let remedy = "remove the field, and write an address of the loopback interface as value";
            let field = format!("{field}.routability");
            refuse(addresses, Diagnostic::error(Reason::RoutabilityNeedsCluster, field, message, remedy));
            continue;
        }
        // Empty: any address will do (GatewayAddressEmpty).
        let value = match value {
            "" => None,
            text => match text.parse() {
                Ok(it) => Some(it),
                Err(_) => {
                    let message = format!("`{text}` is not an IP address");
                    let remedy = "write an IPv4 or IPv6 address";
                    let error = Diagnostic::error(Reason::AddressInvalid, &*field, message, remedy);
                    addresses.unusable.get_or_insert_with(|| error.text());
                    refuse(addresses, error);
                    continue;
                }
            },
        };
        addresses.written.extend(value.filter(|_| routability == Routability::Default));
        requests.push(Request { field, routability, value });
    }
    requests
}

fn on_one_machine(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    class: ProxyClass,
    requests: &[Request],
    addresses: &mut Addresses,
) {
    let settings = reader.settings();
    let pods = reader.get::<proxy::Running>(&(name.clone(), class));
    if !pods.pods.is_empty() {
        // The proxy has a network of its own.
        pods.pods.iter().for_each(|it| addresses.give(Address::Ip(it.address), Routability::Default));
        return;
    }
    let usual = match class {
        ProxyClass::Waypoint => waypoint::standalone_addresses(name, &addresses.written, &settings),
        ProxyClass::Gateway => settings.default_addresses.clone(),
    };
    if requests.is_empty() {
        usual.iter().for_each(|it| addresses.give(Address::Ip(*it), Routability::Default));
    }
    for it in requests {
        let free =
            usual.iter().find(|it| !addresses.has(&Address::Ip(**it)) && !addresses.written.contains(it));
        match it.value.as_ref().or(free) {
            Some(it) => addresses.give(Address::Ip(*it), Routability::Default),
            None => addresses.leave(&it.field, "this machine has no further address; write one as value"),
        }
    }
    let bound = addresses.assigned.iter().filter_map(|it| match it.address {
        Address::Ip(it) => Some(it),
        Address::Hostname(_) => None,
    });
    addresses.bound = bound.collect();
}

/// In a cluster a Gateway is reached through its proxy's Services: each entry has its own, and where there is no entry
/// there is one (see `provision`).
fn by_services(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    class: ProxyClass,
    requests: &[Request],
    addresses: &mut Addresses,
) {
    let proxy = proxy::service_account(name, class, &reader.settings());
    if requests.is_empty() {
        let service = ProxyService::usual(&proxy);
        let found = found(reader, name, &service);
        found.into_iter().flatten().for_each(|(address, routability)| addresses.give(address, routability));
        addresses.services.push(service);
        return;
    }
    let services = services(&proxy, requests);
    for (request, service) in requests.iter().zip(&services) {
        let Request { field, routability, value } = request;
        let found = found(reader, name, service);
        // One address for one entry, of its type, and none twice.
        let given = found.iter().flatten().find(|(it, _)| match (it, value) {
            (Address::Ip(it), Some(asked)) => it == asked,
            (Address::Ip(_), None) => !addresses.has(it),
            (Address::Hostname(_), _) => false,
        });
        if let Some((address, routability)) = given {
            addresses.give(address.clone(), *routability);
            continue;
        }
        let ProxyService { name: service, .. } = service;
        let has: Vec<String> = found.iter().flatten().map(|(it, _)| it.to_string()).collect();
        let has = match (&found, has.is_empty()) {
            (None, _) => format!("Service {}/{service} is not there yet", name.namespace),
            (Some(_), true) => format!("Service {}/{service} has no address", name.namespace),
            (Some(_), false) => format!("Service {}/{service} has {}", name.namespace, has.join(", ")),
        };
        match (value, routability) {
            (Some(asked), Routability::Default) => {
                let why = format!(
                    "{asked} is not assigned: {has}; use an address that the cluster's load balancer can give to it"
                );
                addresses.leave(field, &why);
                addresses.unusable.get_or_insert(format!("{field}: {why}"));
            }
            (Some(asked), _) => {
                let why = format!(
                    "{asked} is not assigned: {has}; use a free address of the cluster's Service network"
                );
                addresses.leave(field, &why);
            }
            (None, _) => addresses.leave(field, &format!("no IP address is assigned: {has}")),
        }
    }
    addresses.services = services;
}

/// The Service of each entry. What one entry asks for does not rename the Services of others of its kind more than it has
/// to: a Service that is made anew loses its address.
fn services(proxy: &Arc<str>, requests: &[Request]) -> Vec<ProxyService> {
    let is_usual = |it: &Request| it.routability == Routability::Default;
    // Addresses that are written come first: for a long time they were the only ones with Services of their own.
    let with = requests.iter().filter(|it| is_usual(it) && it.value.is_some()).count();
    let (mut written, mut any, mut scoped) = (0, with, BTreeMap::<Routability, usize>::new());
    let service = |it: &Request| {
        let name = match (it.routability, it.value) {
            (Routability::Default, value) => {
                let index = if value.is_some() { &mut written } else { &mut any };
                *index += 1;
                match *index {
                    1 => proxy.to_string(),
                    further => name::of_further_service(proxy, further),
                }
            }
            (routability, value) => {
                let scope = if routability == Routability::Cluster { "cluster" } else { "sentinel" };
                let n = scoped.entry(routability).or_default();
                *n += usize::from(value.is_none());
                name::of_scoped_service(proxy, scope, *n, value)
            }
        };
        ProxyService { name: name.into(), routability: it.routability, address: it.value }
    };
    requests.iter().map(service).collect()
}

/// The addresses of a Service of a Gateway's proxy, and how far they reach; none when it is not there.
fn found(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    service: &ProxyService,
) -> Option<Vec<(Address, Routability)>> {
    let name = ObjectName::new(gateway.namespace.clone(), service.name.clone());
    let there = reader.input::<Service>(&name)?;
    let cluster_ips = |it: &Service, routability| {
        it.cluster_ips.iter().map(|it| (Address::Ip(*it), routability)).collect::<Vec<_>>()
    };
    Some(match (service.routability, &there.load_balancer) {
        (Routability::Default, Some(ingress)) => {
            ingress.iter().map(|it| (it.clone(), Routability::Default)).collect()
        }
        (Routability::Default, None) => cluster_ips(&there, Routability::Cluster),
        (routability, None) => cluster_ips(&there, routability),
        // Somebody made it one; it is put right, and until then it is not what was asked for.
        (_, Some(_)) => Vec::new(),
    })
}
