//! Waypoints: which namespaces need one, which proxy it is, and where it listens.

use super::choice::Origin;
use super::evaluation::{Evaluation, Value};
use super::index::IndexKey;
use super::output::{Proxy, ProxyClass, ProxyService, Transport, Want};
use super::reader::Reader;
use super::settings::{Mode, Settings};
use super::{certificate, proxy};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, ObjectRef};
use fairway_config::model::{
    BackendKey, Endpoint, EndpointState, Endpoints, Listener, ListenerKey, ListenerProtocol, ObjectName,
    Resource, SpiffeId,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The port of HBONE.
pub(super) const HBONE_PORT: u16 = 15008;
/// The name of the listener of a waypoint that nobody wrote a Gateway for.
const IMPLIED_LISTENER: &str = "mesh";

/// The waypoint of a namespace that needs one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Waypoint {
    /// Its Gateway, or the name that one would have.
    pub gateway: ObjectName,
    /// Whether traffic has been moved to it.
    pub bound: bool,
    /// The key of its endpoints.
    pub key: BackendKey,
    /// Under which identity it acts.
    pub identity: Option<SpiffeId>,
}

/// The key of a waypoint's endpoints.
pub(super) fn endpoints_key(gateway: &ObjectName) -> BackendKey {
    BackendKey::of_waypoint(gateway)
}

/// The waypoint of a namespace, if something there needs one. Where nobody wrote a Gateway, one machine runs a proxy
/// without; in a cluster a Gateway is asked for, which is then like any other.
pub(super) fn evaluate(reader: &mut Reader<'_>, namespace: &Arc<str>) -> Evaluation {
    let mut made = Evaluation::default();
    let needed_by = reader.members(IndexKey::WaypointNeed(namespace.clone()));
    let settings = reader.settings();
    let Some(first) = needed_by.first().filter(|_| settings.has_mesh()) else { return made };
    let choice = reader.choice(namespace);
    let (gateway, bound) = (choice.gateway.clone(), choice.bound);
    let identity = proxy::identity(&gateway, ProxyClass::Waypoint, &settings);
    let key = endpoints_key(&gateway);
    let object = ObjectRef::of(Kind::Gateway, &gateway);
    match (settings.mode, choice.origin) {
        (_, Origin::Written) => {}
        (Mode::Kubernetes, Origin::Made | Origin::Nothing) => made.index.push((IndexKey::Implied, object)),
        (Mode::Standalone, Origin::Made | Origin::Nothing) => {
            let endpoints = endpoints(reader, &gateway, &[], &settings);
            warn_of_no_endpoint(&endpoints, first, &gateway, &mut made);
            made.resources.push(endpoints);
            made.proxies.extend(implied_proxy(&gateway, &settings));
            made.index.push((IndexKey::Proxies(ProxyClass::Waypoint), object));
        }
    }
    made.value = Value::Waypoint(Arc::new(Waypoint { gateway, bound, key, identity }));
    made
}

fn implied_proxy(gateway: &ObjectName, settings: &Settings) -> Option<Proxy> {
    let service_account = proxy::service_account(gateway, ProxyClass::Waypoint, settings);
    let identity = settings.identity(&gateway.namespace, &service_account)?;
    Some(Proxy {
        name: gateway.clone(),
        class: ProxyClass::Waypoint,
        gateway_class: settings.waypoint_class.clone(),
        want: Want::Run,
        owner: None,
        implied: true,
        services: vec![ProxyService::usual(&service_account)],
        service_account,
        identity,
        listeners: vec![(IMPLIED_LISTENER.into(), HBONE_PORT)],
        ports: vec![(HBONE_PORT, Transport::Tcp)],
        parameters: Arc::default(),
        labels: Vec::new(),
        annotations: Vec::new(),
    })
}

/// A bound waypoint that is not there is never gone around; so somebody should hear of it.
fn warn_of_no_endpoint(
    endpoints: &Resource,
    needed_by: &ObjectRef,
    gateway: &ObjectName,
    made: &mut Evaluation,
) {
    let Resource::Endpoints(it) = endpoints else { return };
    if !it.endpoints.iter().any(|it| it.state == EndpointState::Ready) {
        let message = format!(
            "waypoint {gateway} is not ready, so connections that have to pass through it are refused"
        );
        let remedy = "wait until its pods are ready, or see in their status why they are not";
        made.report(needed_by, Diagnostic::warning(Reason::WaypointNotReady, "", message, remedy));
    }
}

/// Where a waypoint is reached: its ready pods, or where there are none on this machine the addresses it has.
pub(super) fn endpoints(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    written: &[IpAddr],
    settings: &Settings,
) -> Resource {
    let pods = reader.proxy_pods(gateway, ProxyClass::Waypoint);
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
    Resource::Endpoints(Arc::new(Endpoints::of_anybody(endpoints_key(gateway), endpoints)))
}

/// The addresses of a waypoint without pods. All waypoints use one port, so each gets an address of its own.
pub(super) fn standalone_addresses(
    gateway: &ObjectName,
    written: &[IpAddr],
    settings: &Settings,
) -> Vec<IpAddr> {
    if !written.is_empty() {
        return written.to_vec();
    }
    vec![IpAddr::V4(settings.waypoint_network.pick(&gateway.to_string(), 0))]
}

/// Makes the HBONE listener of every waypoint.
pub(super) fn listeners(reader: &mut Reader<'_>) -> Evaluation {
    let mut made = Evaluation::default();
    let settings = reader.settings();
    let waypoints = reader.members(IndexKey::Proxies(ProxyClass::Waypoint));
    for it in waypoints.iter() {
        let gateway = it.object_name();
        let has_pods = !reader.proxy_pods(&gateway, ProxyClass::Waypoint).pods.is_empty();
        let plan = reader.gateway_plan(&gateway);
        let written = plan.as_ref().map(|it| it.addresses.clone()).unwrap_or_default();
        let addresses = match settings.mode {
            Mode::Standalone if !has_pods => standalone_addresses(&gateway, &written, &settings),
            _ => Vec::new(),
        };
        let shown = plan.as_ref().and_then(|it| it.backend_certificate.as_ref()).map(certificate::key);
        let sections = match &plan {
            Some(plan) => {
                plan.listeners.iter().filter(|it| it.programmed).map(|it| it.name.clone()).collect()
            }
            None => vec![IMPLIED_LISTENER.into()],
        };
        made.resources.extend(sections.into_iter().map(|section: Arc<str>| {
            Resource::Listener(Arc::new(Listener {
                key: ListenerKey::from(format!("{gateway}/{section}")),
                gateway: gateway.clone(),
                section,
                addresses: addresses.clone(),
                port: HBONE_PORT,
                hostname: None,
                protocol: ListenerProtocol::Hbone,
                backend_certificate: shown.clone(),
            }))
        }));
    }
    made
}

/// The endpoints of a waypoint that is not in order: none, so that what has to go through it is refused.
pub(super) fn nowhere(gateway: &ObjectName) -> Resource {
    Resource::Endpoints(Arc::new(Endpoints::of_anybody(endpoints_key(gateway), Vec::new())))
}
