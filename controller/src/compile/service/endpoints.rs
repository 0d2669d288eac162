//! The endpoints behind a Service's ports.

use crate::compile::names::service::{backend_key, requires_waypoint, service_key};
use crate::compile::policy::status::BackendGateways;
use crate::compile::policy::{access, required_waypoint};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::service::slice_address::{self, Forbidden};
use crate::compile::stage;
use crate::compile::workload::address::Slices;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{
    Distribution, EndpointSlice, Kind, Object, ObjectRef, Service, ServiceKind, SliceEndpoint, Transport,
};
use fairway_config::model::{
    BackendKey, Endpoint, EndpointState, Endpoints, Family, Guard, Hints, ObjectName, Resource, SpiffeId,
};
use fairway_incremental::{OfInput, Query, Set};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Services of a namespace that are reached through a waypoint only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct Requiring(pub Arc<str>);

impl Set<Cluster> for Requiring {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        match object {
            Object::Service(it) if requires_waypoint(it) => {
                vec![(Self(name.namespace.clone()), name.clone())]
            }
            Object::AccessPolicy(_) => {
                let guarded = access::guarded_services(object).into_iter();
                guarded.map(|it| (Self(name.namespace.clone()), it)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Compiles the EndpointSlices of a Service.
pub(in crate::compile) struct Compile;

impl Query<Cluster> for Compile {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::SERVICES;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(service) = reader.input::<Service>(name).filter(|it| it.kind != ServiceKind::ExternalName)
        else {
            return;
        };
        let mut found: BTreeMap<BackendKey, Found> =
            service.ports.iter().filter_map(|it| Some((backend_key(name, it)?, Found::default()))).collect();
        let mut judged = BTreeMap::new();
        for slice_ref in reader.members(&Slices(name.clone())).iter() {
            let Some(slice) = reader.input::<EndpointSlice>(&slice_ref.object_name()) else { continue };
            let mut refused: BTreeMap<Forbidden, Vec<(usize, IpAddr)>> = BTreeMap::new();
            for (index, it) in slice.addresses.endpoints.iter().enumerate() {
                let address = it.address;
                let verdict =
                    judged.entry(address).or_insert_with(|| slice_address::judge(reader, name, address));
                let taken = match verdict {
                    Ok(taken) => taken,
                    Err(refusal) => {
                        refused.entry(*refusal).or_default().push((index, address));
                        continue;
                    }
                };
                for port in &slice.addresses.ports {
                    let mut same = service.ports_over(port.transport);
                    let behind = same.find(|it| it.name.as_deref().unwrap_or_default() == &*port.name);
                    let Some(found) = behind.and_then(|it| found.get_mut(&backend_key(name, it)?)) else {
                        continue;
                    };
                    // Datagrams are not captured, so no tunnel carries them, and no guard judges them.
                    let is_tcp = port.transport == Transport::Tcp;
                    let identity = taken.identity.clone().filter(|_| is_tcp);
                    let guards =
                        if is_tcp { guarding(reader, &taken.pods, port.port) } else { BTreeSet::new() };
                    found.add(endpoint(it, port.port, &service, identity), taken.is_proxy, guards);
                }
            }
            report(slice_ref, refused, name, made);
        }
        if found.values().any(|it| !it.proxies.is_empty()) && reader.count(&BackendGateways(name.clone())) > 0
        {
            let message = "its endpoints are proxies of Fairway (Gateways or waypoints), to which no other proxy of Fairway \
                       sends requests";
            let remedy = "refer to the Services behind that Gateway, as its own routes do";
            let warning = Diagnostic::warning(Reason::EndpointsAreProxies, "", message, remedy);
            made.report(&ObjectRef::of(Kind::Service, name), warning);
        }
        let (reach, affinity) = (service.reach, service.affinity);
        for (backend, found) in found {
            let mut endpoints: Vec<_> = found.endpoints.into_values().collect();
            endpoints.sort_by_key(|it| Some(Family::of(it.address.ip())) != service.family);
            let guard = |(service, endpoints): (ObjectName, BTreeSet<SocketAddr>)| Guard {
                service: service_key(&service),
                endpoints: endpoints.into_iter().collect(),
            };
            let guards = found.guards.into_iter().map(guard).collect();
            let proxies = found.proxies.into_iter().collect();
            let all = Endpoints { backend, reach, affinity, endpoints, guards, proxies };
            made.resources.push(Resource::Endpoints(Arc::new(all)));
        }
    }
}

impl OfInput<Cluster> for Compile {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::Service).then(|| name.object_name())
    }
}

/// The endpoints of a port.
#[derive(Default)]
struct Found {
    /// By address, so that an endpoint that stands in two slices (as happens while one moves) counts once.
    endpoints: BTreeMap<SocketAddr, Endpoint>,
    guards: BTreeMap<ObjectName, BTreeSet<SocketAddr>>,
    proxies: BTreeSet<SocketAddr>,
}

impl Found {
    fn add(&mut self, endpoint: Endpoint, is_proxy: bool, guards: BTreeSet<ObjectName>) {
        let address = endpoint.address;
        self.proxies.extend(is_proxy.then_some(address));
        for it in guards {
            self.guards.entry(it).or_default().insert(address);
        }
        let held = self.endpoints.entry(address).or_insert_with(|| endpoint.clone());
        if rank(endpoint.state) < rank(held.state) {
            *held = endpoint;
        }
    }
}

fn endpoint(it: &SliceEndpoint, port: u16, service: &Service, identity: Option<SpiffeId>) -> Endpoint {
    // A slice calls pods ready that are not, if the Service wants it so (`publishNotReadyAddresses`).
    let state = match (it.ready, it.serving && it.terminating) {
        (true, _) => EndpointState::Ready,
        (false, true) => EndpointState::Draining,
        (false, false) => EndpointState::Unready,
    };
    let address = SocketAddr::new(it.address, port);
    Endpoint { address, state, identity, node: it.node.clone(), hints: hints(it, service) }
}

/// The slice's own, or what the cluster would have written there: nobody does in slices that are made by hand.
fn hints(it: &SliceEndpoint, service: &Service) -> Option<Arc<Hints>> {
    if it.hints.is_some() {
        return it.hints.clone();
    }
    let node = it.node.iter().filter(|_| service.distribution == Some(Distribution::SameNode));
    let zone = it.zone.iter().filter(|_| service.distribution.is_some());
    let hints = Hints { nodes: node.cloned().collect(), zones: zone.cloned().collect() };
    (hints != Hints::default()).then(|| Arc::new(hints))
}

fn rank(state: EndpointState) -> u8 {
    match state {
        EndpointState::Ready => 0,
        EndpointState::Draining => 1,
        EndpointState::Unready => 2,
    }
}

/// The Services that guard a port of pods.
fn guarding(reader: &mut Reader<'_>, pods: &[ObjectRef], port: u16) -> BTreeSet<ObjectName> {
    let mut guarding = BTreeSet::new();
    // Where nothing is captured nothing is guarded.
    if !reader.settings().has_mesh() {
        return guarding;
    }
    let namespaces: BTreeSet<_> = pods.iter().map(|it| it.namespace.clone()).collect();
    for namespace in namespaces {
        for service in reader.members(&Requiring(namespace)).iter() {
            let name = service.object_name();
            let Some(guarded) = reader.get::<required_waypoint::Guarding>(&name) else { continue };
            if guarded.ports.contains(&port) && pods.iter().any(|it| guarded.pods.contains(it)) {
                guarding.insert(name);
            }
        }
    }
    guarding
}

/// Says of a slice which of its addresses are not taken: once for each reason.
fn report(
    slice: &ObjectRef,
    refused: BTreeMap<Forbidden, Vec<(usize, IpAddr)>>,
    name: &ObjectName,
    made: &mut Made,
) {
    for (forbidden, places) in refused {
        let Some((index, address)) = places.first() else { continue };
        let field = format!("endpoints[{index}].addresses[0]");
        let more = match places.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let (message, remedy) = (forbidden.message(*address, name) + &more, forbidden.remedy(name));
        made.report(slice, Diagnostic::error(Reason::EndpointAddressNotAllowed, field, message, remedy));
    }
}
