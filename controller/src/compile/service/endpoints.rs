//! The endpoints behind a Service's ports.

use crate::compile::names::backend::BackendGateways;
use crate::compile::names::service::{backend_key, read_in_cluster, service_key};
use crate::compile::policy::required_waypoint;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::service::slice_address::{self, Forbidden};
use crate::compile::stage;
use crate::compile::workload::Guards;
use crate::compile::workload::address::Slices;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Distribution, EndpointSlice, Kind, ObjectRef, Service, SliceEndpoint, Transport};
use fairway_config::model::{
    BackendKey, Endpoint, EndpointState, Endpoints, Family, Guard, Hints, ObjectName, Resource, SpiffeId,
};
use fairway_incremental::{OfInput, Query};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Endpoints that a Service has at most, on all its ports together: the API server takes millions, since a slice has each of its
/// addresses on each of its ports.
pub(in crate::compile) const MOST_ENDPOINTS: usize = 100_000;

/// Services that guard one port of a pod at most. Each of them has the others' guards beside its endpoints, so that without a bound a
/// namespace of many Services with the same pods would cost the square of their number.
pub(in crate::compile) const MOST_GUARDS: usize = 32;

/// Compiles the EndpointSlices of a Service.
pub(in crate::compile) struct Compile;

impl Query<Cluster> for Compile {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::SERVICES;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(service) = read_in_cluster(reader, name) else { return };
        let mut found: BTreeMap<BackendKey, Found> =
            service.ports.iter().filter_map(|it| Some((backend_key(name, it)?, Found::default()))).collect();
        let mut behind: HashMap<(Transport, &str), BackendKey> = HashMap::new();
        for it in &service.ports {
            let Some(key) = backend_key(name, it) else { continue };
            behind.entry((it.transport, it.name.as_deref().unwrap_or_default())).or_insert(key);
        }
        let (mut judged, mut room, mut is_cut_off) = (BTreeMap::new(), MOST_ENDPOINTS, false);
        let mut overguarded = BTreeSet::new();
        for slice_ref in reader.members(&Slices(name.clone())).iter() {
            let Some(slice) = reader.input::<EndpointSlice>(&slice_ref.object_name()) else { continue };
            let mut refused: BTreeMap<Forbidden, Vec<(usize, IpAddr)>> = BTreeMap::new();
            for (index, it) in slice.addresses.endpoints.iter().enumerate() {
                let address = it.address;
                let verdict =
                    judged.entry(address).or_insert_with(|| slice_address::judge(reader, name, address));
                let taken = match verdict {
                    Ok(taken) => taken,
                    // A pod is there that is not known yet, or no more: nobody has done anything wrong.
                    Err(Forbidden::PodRange) if it.is_pod => continue,
                    Err(refusal) => {
                        refused.entry(*refusal).or_default().push((index, address));
                        continue;
                    }
                };
                for port in &slice.addresses.ports {
                    let Some(key) = behind.get(&(port.transport, &*port.name)) else { continue };
                    let Some(found) = found.get_mut(key) else { continue };
                    // Datagrams are not captured, so no tunnel carries them, and no guard judges them.
                    let is_tcp = port.transport == Transport::Tcp;
                    let guards =
                        if is_tcp { guarding(reader, &taken.pods, port.port) } else { BTreeSet::new() };
                    if guards.len() > MOST_GUARDS {
                        overguarded.insert(SocketAddr::new(address, port.port));
                        continue;
                    }
                    if !found.endpoints.contains_key(&SocketAddr::new(address, port.port)) {
                        let Some(less) = room.checked_sub(1) else {
                            is_cut_off = true;
                            break;
                        };
                        room = less;
                    }
                    let identity = taken.identity.clone().filter(|_| is_tcp);
                    found.add(endpoint(it, port.port, &service, identity), taken.is_proxy, guards);
                }
            }
            report(slice_ref, refused, name, made);
        }
        if is_cut_off {
            let message = format!(
                "it has more than {MOST_ENDPOINTS} endpoints on all its ports together, and those beyond are not used"
            );
            let remedy = "divide its ports or its pods among several Services";
            made.report(
                &ObjectRef::from_name(Kind::Service, name),
                Diagnostic::error(Reason::TooManyEndpoints, "", message, remedy),
            );
        }
        if let Some(first) = overguarded.first() {
            let message = format!(
                "{} of its endpoints ({first} is the first) are behind more than {MOST_GUARDS} Services that are reached through \
                 their waypoint only, and are not used",
                overguarded.len()
            );
            let remedy = "let fewer Services with the label fairway.dev/waypoint: required, or with an AccessPolicy, \
                      AuthenticationPolicy or RateLimitPolicy, select the same pods";
            made.report(
                &ObjectRef::from_name(Kind::Service, name),
                Diagnostic::error(Reason::TooManyGuards, "", message, remedy),
            );
        }
        if found.values().any(|it| !it.proxies.is_empty()) && reader.count(&BackendGateways(name.clone())) > 0
        {
            let message = "its endpoints are proxies of Fairway (Gateways or waypoints), to which no other proxy of Fairway \
                       sends requests";
            let remedy = "refer to the Services behind that Gateway, as its own routes do";
            let warning = Diagnostic::warning(Reason::EndpointsAreProxies, "", message, remedy);
            made.report(&ObjectRef::from_name(Kind::Service, name), warning);
        }
        let (internal_traffic_policy, session_affinity) =
            (service.internal_traffic_policy, service.session_affinity);
        for (backend, found) in found {
            let mut endpoints: Vec<_> = found.endpoints.into_values().collect();
            endpoints.sort_by_key(|it| Some(Family::from_address(it.address.ip())) != service.family);
            let guard = |(service, endpoints): (ObjectName, BTreeSet<SocketAddr>)| Guard {
                service: service_key(&service),
                endpoints: endpoints.into_iter().collect(),
            };
            let guards = found.guards.into_iter().map(guard).collect();
            let proxies = found.proxies.into_iter().collect();
            let all =
                Endpoints { backend, internal_traffic_policy, session_affinity, endpoints, guards, proxies };
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

/// The Services that guard a port of pods; not all of them, if they are more than [`MOST_GUARDS`].
fn guarding(reader: &mut Reader<'_>, pods: &[ObjectRef], port: u16) -> BTreeSet<ObjectName> {
    let mut guarding = BTreeSet::new();
    // Where nothing is captured nothing is guarded.
    if !reader.settings().has_mesh() {
        return guarding;
    }
    for pod in pods {
        for service in reader.members(&Guards(pod.object_name())).iter() {
            let name = service.object_name();
            if reader.get::<required_waypoint::GuardedPorts>(&name).binary_search(&port).is_ok() {
                guarding.insert(name);
            }
            if guarding.len() > MOST_GUARDS {
                return guarding;
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
