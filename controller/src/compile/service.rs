//! Services as destinations, and the backends behind their ports.

use super::binding::ServiceClaim;
use super::evaluation::Evaluation;
use super::index::IndexKey;
use super::passes::{Consumer, Passes};
use super::reader::Reader;
use super::settings::{Capture, Mode};
use super::waypoint::Waypoint;
use super::{authorization, grant, proxy};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, ObjectRef, RouteKind, Service, ServiceKind, ServicePort, Transport};
use fairway_config::model::{
    AppProtocol, Audience, Backend, BackendKey, BackendSecurity, Listener, ListenerKey, ListenerProtocol,
    ObjectName, Resource, Service as Destination, ServiceKey, ServicePort as DestinationPort, SpiffeId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// The label that keeps a Service behind its waypoint.
const WAYPOINT: &str = "fairway.dev/waypoint";

/// Whether a Service is reached through its waypoint only. A word that is not understood counts as yes.
pub(super) fn requires_waypoint(service: &Service) -> bool {
    service.meta.label(WAYPOINT).is_some()
}

/// The key of a port's backend; none where nothing of ours speaks its transport.
pub(super) fn backend_key(service: &ObjectName, port: &ServicePort) -> Option<BackendKey> {
    match port.transport {
        Transport::Tcp => Some(BackendKey::from(format!("{service}:{}", port.port))),
        // A Service may have one number twice, once for each transport.
        Transport::Udp => Some(BackendKey::from(format!("{service}:{}/udp", port.port))),
        Transport::Other => None,
    }
}

/// The key of a Service.
pub(super) fn key(service: &ObjectName) -> ServiceKey {
    ServiceKey::from(service.to_string())
}

/// What endpoints speak, from `appProtocol` (KEP-3726 and the names in common use).
pub(super) fn protocol(port: &ServicePort) -> Protocol {
    // However it is written: IANA's names have no case, and people write `HTTPS`.
    let written = port.app_protocol.as_deref().map(str::to_ascii_lowercase);
    match written.as_deref() {
        None | Some("") => Protocol::Known(AppProtocol::Unspecified),
        Some(
            "http" | "http/1.1" | "http-alt" | "ws" | "grpc-web" | "kubernetes.io/http" | "kubernetes.io/ws",
        ) => Protocol::Known(AppProtocol::Http1),
        Some("http2" | "h2c" | "grpc" | "kubernetes.io/h2c") => Protocol::Known(AppProtocol::Http2),
        Some("https" | "tls" | "ssl" | "wss" | "grpcs" | "kubernetes.io/wss") => Protocol::Secure,
        Some(name) if OTHER_PROTOCOLS.contains(&name) => Protocol::Known(AppProtocol::Tcp),
        // A name of somebody's own says nothing against HTTP (KEP-3726: such names are free for implementations).
        Some(_) => Protocol::Known(AppProtocol::Unspecified),
    }
}

/// Names that say that something else than HTTP is spoken: IANA's service names and those in common use in meshes.
const OTHER_PROTOCOLS: [&str; 49] = [
    "amqp",
    "amqps",
    "bolt",
    "cassandra",
    "coap",
    "cql",
    "dns",
    "domain",
    "doris",
    "etcd-server",
    "ftp",
    "ftps",
    "imap",
    "imaps",
    "irc",
    "kafka",
    "ldap",
    "ldaps",
    "memcache",
    "memcached",
    "mongo",
    "mongodb",
    "mqtt",
    "mqtts",
    "ms-sql-s",
    "mssql",
    "mysql",
    "nats",
    "nfs",
    "ntp",
    "oracle",
    "pop3",
    "pop3s",
    "postgres",
    "postgresql",
    "pulsar",
    "rdp",
    "redis",
    "rtsp",
    "sip",
    "sips",
    "smtp",
    "smtps",
    "ssh",
    "tcp",
    "telnet",
    "thrift",
    "udp",
    "zookeeper",
];

/// What endpoints speak, as far as a proxy is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// A protocol in the clear.
    Known(AppProtocol),
    /// TLS of the application's own: bytes to us.
    Secure,
}

impl Protocol {
    /// What a proxy speaks that has a policy's word on TLS: then the TLS is its own, and what is inside is not said.
    fn within(self, security: &BackendSecurity) -> AppProtocol {
        match (self, security) {
            (Self::Secure, BackendSecurity::Tls(_) | BackendSecurity::Unusable(_)) => {
                AppProtocol::Unspecified
            }
            (it, _) => it.as_carried(),
        }
    }

    fn as_carried(self) -> AppProtocol {
        match self {
            Self::Known(it) => it,
            Self::Secure => AppProtocol::Tcp,
        }
    }
}

/// Compiles a Service.
pub(super) fn evaluate(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(service) = reader.service(name).filter(|it| it.kind != ServiceKind::ExternalName) else {
        return made;
    };
    let required = requires_waypoint(&service);
    check_label(reader, &service, name, &mut made);
    let waypoint = match required || reader.count(IndexKey::ProducerRoutes(name.clone())) > 0 {
        true => reader.waypoint(&name.namespace),
        false => None,
    };
    let via = match (&waypoint, required) {
        (Some(waypoint), true) => via(&service, name, waypoint, &mut made),
        _ => None,
    };
    let tls = reader.service_tls(name);
    for port in &service.ports {
        let Some(backend) = backend_key(name, port) else { continue };
        let security = tls.as_ref().filter(|_| port.transport == Transport::Tcp);
        let security = security.and_then(|it| it.ports.get(&port.port).cloned());
        let security = security.unwrap_or(BackendSecurity::Plain);
        let via = via.clone().filter(|_| port.transport == Transport::Tcp);
        made.resources.push(Resource::Backend(Arc::new(Backend {
            key: backend,
            service: key(name),
            port: port.port,
            protocol: protocol(port).within(&security),
            security,
            via: via.map(|(key, ip)| (key, SocketAddr::new(ip, port.port))),
        })));
    }
    let consumers = consumers(reader, name);
    let before = service.through_waypoint;
    let settings = reader.settings();
    let not_enforced = match required && settings.capture == Capture::On {
        true => authorization::not_enforced_at(&reader.guarded(name).beyond, &name.namespace),
        false => None,
    };
    let passes =
        Passes { waypoint: waypoint.as_ref(), required, before, consumers: &consumers, not_enforced };
    made.statuses.extend(passes.status(&service, name));
    made.resources.push(Resource::Service(Arc::new(Destination {
        key: key(name),
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
    made
}

fn check_label(reader: &Reader<'_>, service: &Service, name: &ObjectName, made: &mut Evaluation) {
    if requires_waypoint(service) && !reader.settings().has_mesh() {
        let field = format!("metadata.labels[{WAYPOINT}]");
        let message = "cannot be enforced: ztunnel is not installed, so there is no mesh";
        let remedy = "install it (value ztunnel.enabled of the chart), or remove the label";
        let error = Diagnostic::error(Reason::WaypointNeedsMesh, field, message, remedy);
        made.report(&ObjectRef::of(Kind::Service, name), error);
        return;
    }
    if let Some(word) = service.meta.label(WAYPOINT).filter(|it| *it != "required") {
        let message =
            format!("`{word}` is not a known value, so the Service is reached through its waypoint only");
        let field = format!("metadata.labels[{WAYPOINT}]");
        let remedy = "use `required`, or remove the label";
        let error = Diagnostic::error(Reason::WaypointLabelUnknown, field, message, remedy);
        made.report(&ObjectRef::of(Kind::Service, name), error);
    }
}

fn via(
    service: &Service,
    name: &ObjectName,
    waypoint: &Waypoint,
    made: &mut Evaluation,
) -> Option<(BackendKey, std::net::IpAddr)> {
    let address = service.cluster_ips.first();
    if address.is_none() {
        let error = Diagnostic::error(
            Reason::WaypointNeedsClusterIp,
            format!("metadata.labels[{WAYPOINT}]"),
            "a Service without a cluster IP cannot be reached through a waypoint, so connections to it are refused",
            "give it a cluster IP, or remove the label",
        );
        made.report(&ObjectRef::of(Kind::Service, name), error);
    }
    Some((waypoint.key.clone(), *address?))
}

fn destination_port(name: &ObjectName, port: &ServicePort) -> Option<DestinationPort> {
    Some(DestinationPort {
        port: port.port,
        name: port.name.clone(),
        protocol: protocol(port).as_carried(),
        backend: backend_key(name, port)?,
    })
}

/// The namespaces whose routes change how their own clients reach this Service, and their waypoints.
fn consumers(reader: &mut Reader<'_>, name: &ObjectName) -> Vec<Consumer> {
    let routes = reader.members(IndexKey::ConsumerRoutes(name.clone()));
    let mut claimed: BTreeMap<Arc<str>, (Ports, bool)> = BTreeMap::new();
    for route in routes.iter() {
        let Some(binding) = reader.binding(route) else { continue };
        let enforced = reader.meta(route).is_some_and(|it| it.enforced);
        for claim in binding.on_service(name) {
            let (ports, before) = claimed.entry(route.namespace.clone()).or_default();
            ports.add(claim);
            *before |= enforced;
        }
    }
    let consumer = |(namespace, (ports, before)): (Arc<str>, (Ports, bool))| {
        let waypoint = reader.waypoint(&namespace)?;
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
    for gateway in reader.members(IndexKey::BackendGateways(name.clone())).iter() {
        let gateway = gateway.object_name();
        let Some(plan) = reader.gateway_plan(&gateway) else { continue };
        routers.extend(proxy::identity(&gateway, plan.class, &settings));
    }
    for route in reader.members(IndexKey::ConsumerRoutes(name.clone())).iter() {
        let service = (Kind::Service, &name.namespace, &*name.name);
        if grant::permits(reader, (route.kind, &route.namespace), service) {
            routers.extend(reader.waypoint(&route.namespace).and_then(|it| it.identity.clone()));
        }
    }
    routers.into_iter().collect()
}

/// Whether connections that pass this claim's route have gone through a waypoint, so that they do not go around the next one.
pub(super) fn has_passed(reader: &mut Reader<'_>, claim: &ServiceClaim) -> bool {
    match &claim.audience {
        Audience::Producer => reader.service(&claim.service).is_some_and(|it| it.through_waypoint),
        Audience::Consumer(namespace) => {
            let audience = Audience::Consumer(namespace.clone());
            RouteKind::ALL.into_iter().any(|kind| {
                let theirs = IndexKey::ServiceClaims(claim.service.clone(), audience.clone(), kind);
                reader.members(theirs).iter().any(|it| reader.meta(it).is_some_and(|it| it.enforced))
            })
        }
    }
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
            protocol: ListenerProtocol::Service { service: key(name), port: port.port },
            backend_certificate: None,
        }))
    };
    service.tcp_ports().map(listener).collect()
}
