//! Services as destinations, and the backends behind their ports.

mod embedded;
pub(in crate::compile) mod endpoints;
mod passes;
mod slice_address;

use crate::compile::names::backend::BackendGateways;
use crate::compile::names::grant;
use crate::compile::names::protocol::Protocol;
use crate::compile::names::service::{
    WAYPOINT_LABEL, backend_key, read_in_cluster, requires_waypoint, service_key,
};
use crate::compile::policy::{access, authenticate, backend_tls, limit, required_waypoint};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::route::binding;
use crate::compile::route::parent::ServiceClaim;
use crate::compile::route::{ConsumerRoutes, ProducerRoutes};
use crate::compile::service::passes::{Consumer, Passes};
use crate::compile::settings::{Capture, Mode};
use crate::compile::waypoint::{self, Waypoint};
use crate::compile::workload::proxy;
use crate::compile::{gateway, inputs, stage};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, ObjectRef, Service, ServicePort, Transport};
use fairway_config::model::{
    AddressSource, Backend, BackendKey, BackendSecurity, Listener, ListenerKey, ListenerProtocol, ObjectName,
    Resource, Service as Destination, ServicePort as DestinationPort, SpiffeId,
};
use fairway_incremental::{Engine, OfInput, Query};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// What is registered with the engine.
pub(in crate::compile) fn register(engine: Engine<Cluster>) -> Engine<Cluster> {
    engine.of_input::<Compile>().of_input::<endpoints::Compile>()
}

/// Makes a Service's destination, the backends of its ports, and its status.
pub(in crate::compile) struct Compile;

impl Query<Cluster> for Compile {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::SERVICES;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(service) = read_in_cluster(reader, name) else { return };
        let required = required_waypoint::is_required(reader, name, &service);
        let authorizations = access::of_service(reader, name);
        let authentications = authenticate::of_service(reader, name);
        let limits = limit::of_service(reader, name);
        check_label(reader, &service, name, made);
        let is_needed = required
            || !authentications.is_empty()
            || !authorizations.is_empty()
            || !limits.is_empty()
            || reader.count(&ProducerRoutes(name.clone())) > 0;
        let waypoint = match is_needed {
            true => reader.get::<waypoint::Resolve>(&name.namespace),
            false => None,
        };
        let via = match (&waypoint, required) {
            (Some(waypoint), true) => via(&service, name, waypoint, made),
            _ => None,
        };
        let tls = backend_tls::of_service(reader, name);
        for port in &service.ports {
            let Some(backend) = backend_key(name, port) else { continue };
            let security = tls.as_ref().filter(|_| port.transport == Transport::Tcp);
            let security = security.and_then(|it| it.ports.get(&port.port).cloned());
            let security = security.unwrap_or(BackendSecurity::Plain);
            let via = via.clone().filter(|_| port.transport == Transport::Tcp);
            made.resources.push(Resource::Backend(Arc::new(Backend {
                key: backend,
                service: service_key(name),
                port: port.port,
                protocol: Protocol::of_port(port).within(&security),
                security,
                via: via.map(|(key, ip)| (key, SocketAddr::new(ip, port.port))),
                authorizations: authorizations.clone(),
                limits: limits.clone(),
                authentications: authentications.clone(),
            })));
        }
        let consumers = consumers(reader, name);
        let before = service.through_waypoint;
        let settings = reader.settings();
        let not_enforced = match required && settings.capture == Capture::On {
            true => required_waypoint::not_enforced_at(
                &reader.get::<required_waypoint::Guarding>(name).unwrap_or_default().beyond,
                &name.namespace,
            ),
            false => None,
        };
        let passes =
            Passes { waypoint: waypoint.as_ref(), required, before, consumers: &consumers, not_enforced };
        made.statuses.extend(passes.status(&service, name));
        made.resources.push(Resource::Service(Arc::new(Destination {
            key: service_key(name),
            namespace: name.namespace.clone(),
            addresses: service.cluster_ips.clone(),
            ports: service.tcp_ports().filter_map(|it| destination_port(name, it)).collect(),
            waypoint: passes.waypoint(),
            consumer_waypoints: passes.consumer_waypoints(),
            routers: if waypoint.is_some() { routers(reader, name) } else { Vec::new() },
        })));
        if settings.mode == Mode::Standalone && settings.capture == Capture::Off {
            let gateway = waypoint.map_or_else(|| name.clone(), |it| it.gateway.clone());
            made.resources.extend(own_listeners(&service, name, &gateway));
        }
    }
}

impl OfInput<Cluster> for Compile {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::Service).then(|| name.object_name())
    }
}

fn check_label(reader: &Reader<'_>, service: &Service, name: &ObjectName, made: &mut Made) {
    if requires_waypoint(service) && !reader.settings().has_mesh() {
        let field = format!("metadata.labels[{WAYPOINT_LABEL}]");
        let message = "the label cannot be enforced: ztunnel is not installed, so connections to the Service go without \
                       a waypoint";
        let remedy = "install it (value ztunnel.enabled of the chart), or remove the label";
        let error = Diagnostic::error(Reason::WaypointNeedsMesh, field, message, remedy);
        made.report(&ObjectRef::from_name(Kind::Service, name), error);
        return;
    }
    if let Some(word) = service.meta.label(WAYPOINT_LABEL).filter(|it| *it != "required") {
        let message =
            format!("`{word}` is not a known value, so the Service is reached through its waypoint only");
        let field = format!("metadata.labels[{WAYPOINT_LABEL}]");
        let remedy = "use `required`, or remove the label";
        let error = Diagnostic::error(Reason::WaypointLabelUnknown, field, message, remedy);
        made.report(&ObjectRef::from_name(Kind::Service, name), error);
    }
}

fn via(
    service: &Service,
    name: &ObjectName,
    waypoint: &Waypoint,
    made: &mut Made,
) -> Option<(BackendKey, std::net::IpAddr)> {
    let address = service.cluster_ips.first();
    if address.is_none() {
        let error = Diagnostic::error(
            Reason::WaypointNeedsClusterIp,
            format!("metadata.labels[{WAYPOINT_LABEL}]"),
            "a Service without a cluster IP cannot be reached through a waypoint, so connections to it are refused",
            "give it a cluster IP, or remove the label or the AccessPolicy that keeps it behind its waypoint",
        );
        made.report(&ObjectRef::from_name(Kind::Service, name), error);
    }
    Some((waypoint.key.clone(), *address?))
}

fn destination_port(name: &ObjectName, port: &ServicePort) -> Option<DestinationPort> {
    Some(DestinationPort {
        port: port.port,
        name: port.name.clone(),
        protocol: Protocol::of_port(port).as_carried(),
        backend: backend_key(name, port)?,
    })
}

/// The namespaces whose routes change how their own clients reach this Service, and their waypoints.
fn consumers(reader: &mut Reader<'_>, name: &ObjectName) -> Vec<Consumer> {
    let routes = reader.members(&ConsumerRoutes(name.clone()));
    let mut claimed: BTreeMap<Arc<str>, (Ports, bool)> = BTreeMap::new();
    for route in routes.iter() {
        let Some(binding) = reader.get::<binding::Bind>(route) else { continue };
        let enforced = inputs::meta(reader, route).is_some_and(|it| it.enforced);
        for claim in binding.on_service(name) {
            let (ports, before) = claimed.entry(route.namespace.clone()).or_default();
            ports.add(claim);
            *before |= enforced;
        }
    }
    let consumer = |(namespace, (ports, before)): (Arc<str>, (Ports, bool))| {
        let waypoint = reader.get::<waypoint::Resolve>(&namespace)?;
        Some(Consumer { namespace, ports: ports.listed(), waypoint, before })
    };
    claimed.into_iter().filter_map(consumer).collect()
}

/// Who is believed when it says that a request for the Service is routed: the proxies of Gateways with a route that may
/// name it, and the waypoints of namespaces whose routes for it the Service's namespace grants. A route of another
/// namespace needs no grant to hold for the clients of that (GEP-1294), but without one the Service's own routes hold too.
fn routers(reader: &mut Reader<'_>, name: &ObjectName) -> Vec<SpiffeId> {
    let settings = reader.settings();
    let mut routers = BTreeSet::new();
    for gateway in reader.members(&BackendGateways(name.clone())).iter() {
        let gateway = gateway.object_name();
        let Some(plan) = reader.get::<gateway::Publish>(&gateway) else { continue };
        routers.extend(proxy::identity(&gateway, plan.class, &settings));
    }
    for route in reader.members(&ConsumerRoutes(name.clone())).iter() {
        let service = (Kind::Service, &name.namespace, &*name.name);
        if grant::permits(reader, (route.kind, &route.namespace), service) {
            routers
                .extend(reader.get::<waypoint::Resolve>(&route.namespace).and_then(|it| it.identity.clone()));
        }
    }
    routers.into_iter().collect()
}

/// The ports of a Service that a namespace's routes claim.
#[derive(Default)]
struct Ports {
    all: bool,
    some: BTreeSet<u16>,
}

impl Ports {
    fn add(&mut self, claim: &ServiceClaim) {
        self.all |= claim.all_ports;
        self.some.extend(&claim.ports);
    }

    /// Empty stands for all.
    fn listed(self) -> Vec<u16> {
        if self.all { Vec::new() } else { self.some.into_iter().collect() }
    }
}

/// Listeners on the Service's own addresses, where those are this machine's: how it is reached without capture.
fn own_listeners(service: &Service, name: &ObjectName, gateway: &ObjectName) -> Vec<Resource> {
    let addresses: Vec<_> = service.cluster_ips.iter().copied().filter(|it| it.is_loopback()).collect();
    if addresses.is_empty() {
        return Vec::new();
    }
    let listener = |port: &ServicePort| {
        Resource::Listener(Arc::new(Listener {
            key: ListenerKey::from(format!("service/{name}/{}", port.port)),
            gateway: gateway.clone(),
            section: port.name.clone().unwrap_or_else(|| port.port.to_string().into()),
            addresses: addresses.clone(),
            port: port.port,
            hostname: None,
            protocol: ListenerProtocol::Service { service: service_key(name), port: port.port },
            backend_certificate: None,
            authorizations: vec![],
            closed: None,
            address_source: AddressSource::Connection,
            filters: vec![],
            limits: vec![],
            treatment: None,
            authentications: vec![],
        }))
    };
    service.tcp_ports().map(listener).collect()
}
