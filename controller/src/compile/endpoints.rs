//! The endpoints behind a Service's ports.

use super::evaluation::Evaluation;
use super::index::IndexKey;
use super::reader::Reader;
use super::service::backend_key;
use crate::resources::{Distribution, Service, ServiceKind, SliceEndpoint, Transport};
use fairway_config::model::{
    BackendKey, Endpoint, EndpointState, Endpoints, Family, Hints, ObjectName, Resource, SpiffeId,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Compiles the EndpointSlices of a Service.
pub(super) fn evaluate(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(service) = reader.service(name).filter(|it| it.kind != ServiceKind::ExternalName) else {
        return made;
    };
    // By address, so that an endpoint that stands in two slices (as happens while one moves) counts once.
    let mut found: BTreeMap<BackendKey, BTreeMap<SocketAddr, Endpoint>> =
        service.ports.iter().filter_map(|it| Some((backend_key(name, it)?, BTreeMap::new()))).collect();
    let mut identities = BTreeMap::new();
    for slice in reader.members(IndexKey::Slices(name.clone())).iter() {
        let Some(slice) = reader.endpoint_slice(slice) else { continue };
        for port in &slice.addresses.ports {
            let mut same = service.ports_over(port.transport);
            let behind = same.find(|it| it.name.as_deref().unwrap_or_default() == &*port.name);
            let Some(endpoints) = behind.and_then(|it| found.get_mut(&backend_key(name, it)?)) else {
                continue;
            };
            for it in &slice.addresses.endpoints {
                let mut known =
                    || identities.entry(it.address).or_insert_with(|| identity(reader, it.address)).clone();
                // Datagrams are not captured, so no tunnel carries them.
                let identity = if port.transport == Transport::Tcp { known() } else { None };
                let endpoint = endpoint(it, port.port, &service, identity);
                let held = endpoints.entry(endpoint.address).or_insert_with(|| endpoint.clone());
                if rank(endpoint.state) < rank(held.state) {
                    *held = endpoint;
                }
            }
        }
    }
    let (reach, affinity) = (service.reach, service.affinity);
    for (backend, endpoints) in found {
        let mut endpoints: Vec<_> = endpoints.into_values().collect();
        endpoints.sort_by_key(|it| Some(Family::of(it.address.ip())) != service.family);
        made.resources.push(Resource::Endpoints(Arc::new(Endpoints { backend, reach, affinity, endpoints })));
    }
    made
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

/// Who is at an address, if it is a captured pod. (What a slice says of its target is not asked: the address is what
/// will be dialled.)
fn identity(reader: &mut Reader<'_>, address: IpAddr) -> Option<SpiffeId> {
    let pods = reader.members(IndexKey::PodsAt(address));
    pods.iter().find_map(|it| {
        let pod = reader.pod_identity(&it.object_name())?;
        pod.captured.then(|| pod.identity.clone())
    })
}
