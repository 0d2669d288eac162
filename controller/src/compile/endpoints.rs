//! The endpoints behind a Service's ports.

use super::evaluation::Evaluation;
use super::index::IndexKey;
use super::reader::Reader;
use super::service::backend_key;
use crate::resources::{Service, ServiceKind, SliceEndpoint, Transport};
use fairway_config::model::{BackendKey, Endpoint, EndpointState, Endpoints, ObjectName, Resource, SpiffeId};
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
    for (backend, endpoints) in found {
        let endpoints = endpoints.into_values().collect();
        made.resources.push(Resource::Endpoints(Arc::new(Endpoints { backend, endpoints })));
    }
    made
}

fn endpoint(it: &SliceEndpoint, port: u16, service: &Service, identity: Option<SpiffeId>) -> Endpoint {
    let state = match (it.ready || service.publish_not_ready, it.serving && it.terminating) {
        (true, _) => EndpointState::Ready,
        (false, true) => EndpointState::Draining,
        (false, false) => EndpointState::Unready,
    };
    let address = SocketAddr::new(it.address, port);
    Endpoint { address, state, identity, node: it.node.clone(), zone: it.zone.clone() }
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
