//! Strategies that make any resource, for property tests.

mod address_source;
mod authentication;
mod client_treatment;
mod limit;
mod probe;
mod route;
mod trust;

use crate::kinds::for_each_kind;
use crate::model::{
    AppProtocol, Authorization, Backend, CaptureExemption, Certificate, CertificateKey, CipherSuite,
    ConsumerWaypoint, Endpoint, EndpointState, Endpoints, Guard, Hints, HostnamePattern,
    InternalTrafficPolicy, KeyExchangeGroup, Listener, ListenerProtocol, Mesh, MutualTls, ObjectName,
    Resource, Service, ServicePort, SessionAffinity, SpiffeId, TlsAlgorithms, TlsTermination, TlsVersion,
    Workload,
};
use fairway_policy::{Action, Cidr, CidrSet, Condition, Mode, PathCondition, Rule, TrustDomain};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

pub use authentication::authentication;
pub use limit::rate_limit;
pub use route::{l4_route, route};

macro_rules! resource {
    ($($(#[$doc:meta])* $kind:ident { table: $table:ident, key: $key:ident = $key_of:expr, wire: $wire:ident })+) => {
        /// Any resource of any kind.
        pub fn resource() -> impl Strategy<Value = Resource> {
            prop_oneof![$($wire().prop_map(|it| Resource::$kind(Arc::new(it)))),+]
        }
    };
}

for_each_kind!(resource);

/// A text that is not empty.
fn name() -> impl Strategy<Value = Arc<str>> {
    "[a-z][a-z0-9-]{0,8}".prop_map(Arc::from)
}

/// Any text, also an empty or a strange one.
fn text() -> impl Strategy<Value = Arc<str>> {
    ".{0,12}".prop_map(Arc::from)
}

/// A key of any kind; few letters, so that two can be equal.
fn key<K: From<Arc<str>> + std::fmt::Debug>() -> impl Strategy<Value = K> {
    "[a-z/:]{1,12}".prop_map(|text| K::from(Arc::from(text)))
}

fn object() -> impl Strategy<Value = ObjectName> {
    (name(), name()).prop_map(|(namespace, name)| ObjectName { namespace, name })
}

fn port() -> impl Strategy<Value = u16> {
    1..=u16::MAX
}

fn socket_address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), port()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn hostname() -> impl Strategy<Value = HostnamePattern> {
    "(\\*\\.)?[a-z0-9]{1,6}(\\.[a-z0-9]{1,6}){0,2}".prop_filter_map("a hostname", |text| text.parse().ok())
}

fn identity() -> impl Strategy<Value = SpiffeId> {
    "spiffe://cluster.local/ns/[a-z]{1,6}/sa/[a-z]{1,6}"
        .prop_filter_map("an identity", |text| text.parse().ok())
}

fn app_protocol() -> impl Strategy<Value = AppProtocol> {
    use AppProtocol::{Http1, Http2, Tcp, Unspecified};
    prop_oneof![Just(Unspecified), Just(Http1), Just(Http2), Just(Tcp)]
}

/// A listener of every protocol, with certificates that may not exist.
pub fn listener() -> impl Strategy<Value = Listener> {
    let protocol = prop_oneof![
        Just(ListenerProtocol::Http),
        termination().prop_map(ListenerProtocol::Https),
        termination().prop_map(ListenerProtocol::TlsTerminate),
        Just(ListenerProtocol::TlsPassthrough),
        Just(ListenerProtocol::Tcp),
        Just(ListenerProtocol::Udp),
        Just(ListenerProtocol::Hbone),
        (key(), port()).prop_map(|(service, port)| ListenerProtocol::Service { service, port }),
    ];
    let filters = vec(route::filter(), 0..2);
    let treatment = client_treatment::treatment();
    let guards = (vec(key(), 0..2), vec(key(), 0..2), vec(key(), 0..2));
    let rest = (of(key()), guards, address_source::source(), of(name()), filters, treatment);
    (key(), object(), name(), vec(any::<IpAddr>(), 0..3), port(), of(hostname()), protocol, rest).prop_map(
        |(key, gateway, section, addresses, port, hostname, protocol, rest)| {
            let (backend_certificate, guards, address_source, closed, filters, treatment) = rest;
            let (authorizations, limits, authentications) = guards;
            Listener {
                key,
                gateway,
                section,
                addresses,
                port,
                hostname,
                protocol,
                backend_certificate,
                authorizations,
                closed,
                address_source,
                filters,
                limits,
                treatment,
                authentications,
            }
        },
    )
}

fn termination() -> impl Strategy<Value = TlsTermination> {
    let min_version = prop_oneof![Just(TlsVersion::V1_2), Just(TlsVersion::V1_3)];
    let suites = proptest::sample::subsequence(CipherSuite::ALL, 0..=3);
    let groups = proptest::sample::subsequence(KeyExchangeGroup::ALL, 0..=3);
    let algorithms =
        (suites, groups).prop_map(|(cipher_suites, groups)| TlsAlgorithms { cipher_suites, groups });
    (vec(key(), 1..3), of(trust::clients()), min_version, algorithms).prop_map(
        |(certificates, clients, min_version, algorithms)| TlsTermination {
            certificates,
            clients,
            min_version,
            algorithms,
        },
    )
}

/// A backend of every protocol, in the clear, over TLS, or unusable.
pub fn backend() -> impl Strategy<Value = Backend> {
    let via = of((key(), socket_address()));
    let guards = (vec(key(), 0..2), vec(key(), 0..2), vec(key(), 0..2));
    (key(), key(), port(), app_protocol(), trust::security(), via, guards).prop_map(
        |(key, service, port, protocol, security, via, (authorizations, limits, authentications))| Backend {
            key,
            service,
            port,
            protocol,
            security,
            via,
            authorizations,
            limits,
            authentications,
        },
    )
}

/// Any endpoints of a backend.
pub fn endpoints() -> impl Strategy<Value = Endpoints> {
    use EndpointState::{Draining, Ready, Unready};
    let state = prop_oneof![Just(Ready), Just(Draining), Just(Unready)];
    let hints =
        (vec(text(), 0..3), vec(text(), 0..3)).prop_map(|(nodes, zones)| Arc::new(Hints { nodes, zones }));
    let endpoint = (socket_address(), state, of(identity()), of(text()), of(hints)).prop_map(
        |(address, state, identity, node, hints)| Endpoint { address, state, identity, node, hints },
    );
    let internal_traffic_policy =
        prop_oneof![Just(InternalTrafficPolicy::Cluster), Just(InternalTrafficPolicy::Local)];
    let session_affinity = prop_oneof![Just(SessionAffinity::None), Just(SessionAffinity::ClientIp)];
    let guard =
        (key(), vec(socket_address(), 0..3)).prop_map(|(service, endpoints)| Guard { service, endpoints });
    let (guards, proxies) = (vec(guard, 0..3), vec(socket_address(), 0..3));
    (key(), internal_traffic_policy, session_affinity, vec(endpoint, 0..4), guards, proxies).prop_map(
        |(backend, internal_traffic_policy, session_affinity, endpoints, guards, proxies)| Endpoints {
            backend,
            internal_traffic_policy,
            session_affinity,
            endpoints,
            guards,
            proxies,
        },
    )
}

/// A valid certificate, always the same one, under any key.
pub fn certificate() -> impl Strategy<Value = Certificate> {
    key().prop_filter_map("a certificate", certificate_named)
}

/// A valid certificate under this key; none only if none can be made.
pub fn certificate_named(key: CertificateKey) -> Option<Certificate> {
    let (chain, private_key) = key_pair();
    Certificate::from_pem(key, chain, private_key).ok()
}

/// A self-signed certificate and its key in PEM, made once for each process.
fn key_pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| match rcgen::generate_simple_self_signed(["www.example.com".to_owned()]) {
        Ok(made) => (made.cert.pem(), made.signing_key.serialize_pem()),
        Err(error) => (error.to_string(), String::new()),
    })
}

/// A Service with and without waypoints of its own and of clients.
pub fn service() -> impl Strategy<Value = Service> {
    let consumer = (name(), vec(port(), 0..3), key())
        .prop_map(|(namespace, ports, waypoint)| ConsumerWaypoint { namespace, ports, waypoint });
    let port = (port(), of(text()), app_protocol(), key())
        .prop_map(|(port, name, protocol, backend)| ServicePort { port, name, protocol, backend });
    let waypoints = (of(key()), vec(consumer, 0..3), vec(identity(), 0..3));
    (key(), name(), vec(any::<IpAddr>(), 0..3), vec(port, 0..3), waypoints).prop_map(
        |(key, namespace, addresses, ports, (waypoint, consumer_waypoints, routers))| Service {
            key,
            namespace,
            addresses,
            ports,
            waypoint,
            consumer_waypoints,
            routers,
        },
    )
}

/// A pod, in the mesh or not, with probes and authorizations.
pub fn workload() -> impl Strategy<Value = Workload> {
    let mesh = prop_oneof![
        Just(Mesh::Outside),
        Just(Mesh::Captured(MutualTls::Permissive)),
        Just(Mesh::Captured(MutualTls::Strict)),
    ];
    let aside = prop_oneof![
        Just(None),
        Just(Some(CaptureExemption::HostNetwork)),
        Just(Some(CaptureExemption::OptedOut)),
        Just(Some(CaptureExemption::Proxy)),
    ];
    let (mesh, probes) = ((mesh, aside), vec(probe::probe(), 0..3));
    let uids = (text(), of(name()));
    (key(), uids, vec(any::<IpAddr>(), 0..3), identity(), text(), mesh, probes, vec(key(), 0..3)).prop_map(
        |(key, (uid, node_uid), addresses, identity, node, (mesh, aside), probes, authorizations)| Workload {
            key,
            uid,
            node_uid,
            addresses,
            identity,
            node,
            mesh,
            aside,
            probes,
            authorizations,
        },
    )
}

/// An authorization with conditions of every kind, also within each other.
pub fn authorization() -> impl Strategy<Value = Authorization> {
    let alternatives = vec(vec(condition(), 0..3), 0..3).prop_map(Condition::AnyOf);
    let condition = prop_oneof![8 => condition(), 1 => alternatives];
    let rule = (of(name()), vec(condition, 0..3)).prop_map(|(name, conditions)| Rule { name, conditions });
    let action = prop_oneof![Just(Action::Allow), Just(Action::Deny)];
    let mode = prop_oneof![Just(Mode::Enforce), Just(Mode::Observe)];
    (name(), action, mode, vec(rule, 0..3)).prop_map(|(name, action, mode, rules)| Authorization {
        name,
        action,
        mode,
        rules,
    })
}

/// Any condition that holds no other ones.
fn condition() -> impl Strategy<Value = Condition> {
    let domain = Just(()).prop_filter_map("a trust domain", |()| TrustDomain::new("cluster.local").ok());
    let namespaces = (domain, vec(name(), 0..3))
        .prop_map(|(trust_domain, namespaces)| Condition::PeerNamespaceIs { trust_domain, namespaces });
    prop_oneof![
        vec(identity(), 0..3).prop_map(Condition::PeerIs),
        vec(identity(), 0..3).prop_map(Condition::PeerIsNot),
        namespaces,
        cidrs().prop_map(Condition::ClientIn),
        cidrs().prop_map(Condition::ClientNotIn),
        vec(port(), 0..3).prop_map(Condition::PortIs),
        vec(hostname(), 0..3).prop_map(Condition::HostIs),
        vec(route::method(), 0..3).prop_map(Condition::MethodIs),
        vec(route::path().prop_map(PathCondition::from), 0..3).prop_map(Condition::PathIs),
        route::header_match().prop_map(Condition::HeaderIs),
        text().prop_map(Condition::NotUnderstood),
    ]
}

fn cidrs() -> impl Strategy<Value = CidrSet> {
    let cidr = (any::<IpAddr>(), 0..=32_u8).prop_filter_map("a range", |(ip, length)| {
        // Whatever lies behind the prefix goes.
        let first: IpAddr = match ip {
            IpAddr::V4(ip) => {
                (ip & Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0))).into()
            }
            IpAddr::V6(ip) => {
                (ip & Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0))).into()
            }
        };
        Cidr::new(first, length).ok()
    });
    vec(cidr, 0..4).prop_map(CidrSet::from_iter)
}
