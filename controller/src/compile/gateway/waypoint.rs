//! Where the waypoint of a Gateway is reached.

use crate::compile::names::waypoint::HBONE_PORT;
use crate::compile::program::Reader;
use crate::compile::settings::{CompileSettings, Mode};
use crate::compile::workload::proxy;
use crate::provision::ProxyClass;
use fairway_config::model::{BackendKey, Endpoint, EndpointState, Endpoints, ObjectName, Resource};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where a waypoint is reached: its ready pods, or where there are none on this machine the addresses it has.
pub(in crate::compile) fn endpoints(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    written: &[IpAddr],
    settings: &CompileSettings,
) -> Resource {
    let pods = reader.get::<proxy::Running>(&(gateway.clone(), ProxyClass::Waypoint));
    let identity = proxy::identity(gateway, ProxyClass::Waypoint, settings);
    let mut endpoints: Vec<Endpoint> = pods
        .pods
        .iter()
        .map(|pod| Endpoint {
            address: SocketAddr::new(pod.address, HBONE_PORT),
            state: if pod.ready { EndpointState::Ready } else { EndpointState::Unready },
            identity: identity.clone(),
            node: Some(pod.node.clone()).filter(|it| !it.is_empty()),
            hints: None,
        })
        .collect();
    if pods.pods.is_empty() && settings.mode == Mode::Standalone {
        endpoints.extend(standalone_addresses(gateway, written, settings).into_iter().map(|address| {
            Endpoint {
                address: SocketAddr::new(address, HBONE_PORT),
                state: EndpointState::Ready,
                identity: identity.clone(),
                node: None,
                hints: None,
            }
        }));
    }
    Resource::Endpoints(Arc::new(Endpoints::of_anybody(BackendKey::of_waypoint(gateway), endpoints)))
}

/// The addresses of a waypoint without pods. All waypoints use one port, so each gets an address of its own.
pub(in crate::compile) fn standalone_addresses(
    gateway: &ObjectName,
    written: &[IpAddr],
    settings: &CompileSettings,
) -> Vec<IpAddr> {
    if !written.is_empty() {
        return written.to_vec();
    }
    vec![IpAddr::V4(settings.waypoint_network.pick(&gateway.to_string(), 0))]
}

/// The endpoints of a waypoint that is not in order: none, so that what has to go through it is refused.
pub(in crate::compile) fn nowhere(gateway: &ObjectName) -> Resource {
    Resource::Endpoints(Arc::new(Endpoints::of_anybody(BackendKey::of_waypoint(gateway), Vec::new())))
}

/// Whether traffic has been moved to a waypoint, or may be now: a pod is ready once it has its whole configuration.
pub(in crate::compile) fn is_bound(reader: &mut Reader<'_>, gateway: &ObjectName, was: bool) -> bool {
    was || reader
        .get::<proxy::Running>(&(gateway.clone(), ProxyClass::Waypoint))
        .pods
        .iter()
        .any(|it| it.ready)
}
