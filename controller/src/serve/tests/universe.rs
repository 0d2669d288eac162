//! A small world of resources that refer to each other, and random edits of it.

use fairway_config::arbitrary;
use fairway_config::model::{
    AddressSource, AppProtocol, Attachment, Audience, Authentication, AuthenticationKey, Authorization,
    AuthorizationKey, Backend, BackendKey, BackendSecurity, BackendTarget, CertificateKey, ConsumerWaypoint,
    Endpoint, EndpointState, Endpoints, Filter, Fraction, L4Kind, L4Route, Limits, Listener,
    ListenerProtocol, Match, Mesh, Mirror, MutualTls, ObjectName, PathMatch, RateLimit, RateLimitKey,
    Resource, ResourceKey, Route, RouteKind, Rule, Service, ServicePort, Timeouts, TlsTermination,
    WeightedBackend, WeightedTarget, Workload,
};
use fairway_config::stream::Proxy;
use fairway_policy::{Action, Condition, Mode};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

/// All proxies of this world.
pub(crate) fn proxies() -> Vec<Proxy> {
    let gateways = GATEWAYS.iter().map(|it| gateway(it));
    gateways.chain([Proxy::Node("n1".into()), Proxy::Node("n2".into()), Proxy::Everything]).collect()
}

const GATEWAYS: [&str; 3] = ["shop/gw", "shop/wp", "blog/wp"];
const SERVICES: [&str; 3] = ["shop/a", "shop/b", "blog/c"];
const BACKENDS: [&str; 3] = ["shop/a:80", "shop/b:80", "blog/c:80"];
pub(crate) const WAYPOINTS: [&str; 3] = ["waypoint/shop/wp", "waypoint/blog/wp", "no-waypoint"];
const AUTHORIZATIONS: [&str; 2] = ["one", "two"];
const LIMITS: [&str; 2] = ["few", "many"];
const AUTHENTICATIONS: [&str; 2] = ["keys", "tokens"];

fn object(name: &str) -> ObjectName {
    let (namespace, name) = name.split_once('/').unwrap();
    ObjectName::new(namespace, name)
}

pub(crate) fn gateway(name: &str) -> Proxy {
    Proxy::Gateway(object(name))
}

pub(crate) fn listener(gateway: &str, section: &str, protocol: ListenerProtocol) -> Resource {
    Resource::Listener(Arc::new(Listener {
        key: format!("{gateway}/{section}").into(),
        gateway: object(gateway),
        section: section.into(),
        addresses: vec![],
        port: 80,
        hostname: None,
        protocol,
        backend_certificate: None,
        authorizations: vec![],
        closed: None,
        address_source: AddressSource::Connection,
        filters: vec![],
        limits: vec![],
        treatment: None,
        authentications: vec![],
    }))
}

pub(crate) fn backend(key: &str, port: u16, via: Option<&str>) -> Resource {
    Resource::Backend(Arc::new(Backend {
        key: key.into(),
        service: key.split(':').next().unwrap().into(),
        port,
        protocol: AppProtocol::Http1,
        security: BackendSecurity::Plain,
        via: via.map(|it| (it.into(), ([10, 0, 0, 1], 80).into())),
        authorizations: vec![],
        limits: vec![],
        authentications: vec![],
    }))
}

pub(crate) fn l4_route(name: &str, attachments: Vec<Attachment>, backends: &[&str]) -> Resource {
    let target = |key: &&str| WeightedTarget { weight: 1, target: BackendTarget::Backend((*key).into()) };
    Resource::L4Route(Arc::new(L4Route {
        key: format!("TCPRoute/shop/{name}").into(),
        kind: L4Kind::Tcp,
        object: object("shop/tcp"),
        created: 0,
        attachments,
        rule: None,
        backends: backends.iter().map(target).collect(),
    }))
}

pub(crate) fn endpoints(backend: &str, count: u8) -> Resource {
    let endpoint = |i| Endpoint {
        address: ([10, 1, 0, i], 8080).into(),
        state: EndpointState::Ready,
        identity: None,
        node: None,
        hints: None,
    };
    Resource::Endpoints(Arc::new(Endpoints::of_anybody(backend.into(), (0..count).map(endpoint).collect())))
}

pub(crate) fn rule(path: &str, backends: &[&str], mirror: Option<&str>) -> Rule {
    let target = |key: &str| BackendTarget::Backend(BackendKey::from(key));
    let mirror = mirror.map(|it| Filter::Mirror(Mirror { target: target(it), fraction: Fraction::ALL }));
    Rule {
        name: None,
        matches: vec![Match {
            path: PathMatch::Exact(path.into()),
            headers: vec![],
            query: vec![],
            method: None,
        }],
        filters: mirror.into_iter().collect(),
        backends: backends
            .iter()
            .map(|it| WeightedBackend { weight: 1, target: target(it), filters: vec![] })
            .collect(),
        timeouts: Timeouts::default(),
        retry: None,
        authorizations: vec![],
        limits: vec![],
        authentications: vec![],
    }
}

pub(crate) fn route(name: &str, attachments: Vec<Attachment>, rules: Vec<Rule>) -> Resource {
    Resource::Route(Arc::new(Route {
        key: format!("HTTPRoute/shop/{name}").into(),
        kind: RouteKind::Http,
        object: ObjectName::new("shop", name),
        created: 0,
        attachments,
        rules,
    }))
}

pub(crate) fn at_listener(key: &str) -> Attachment {
    Attachment::Listener { listener: key.into(), hostnames: vec![] }
}

pub(crate) fn at_service(key: &str, audience: Audience) -> Attachment {
    Attachment::Service { service: key.into(), port: None, audience }
}

pub(crate) fn consumer(namespace: &str) -> Audience {
    Audience::Consumer(namespace.into())
}

pub(crate) fn service(
    key: &str,
    waypoint: Option<&str>,
    consumers: &[(&str, &str)],
    backends: &[&str],
) -> Resource {
    let port = |(number, it): (u16, &&str)| ServicePort {
        port: number,
        name: None,
        protocol: AppProtocol::Http1,
        backend: (**it).into(),
    };
    let consumer = |(namespace, waypoint): &(&str, &str)| ConsumerWaypoint {
        ports: vec![],
        namespace: (*namespace).into(),
        waypoint: (*waypoint).into(),
    };
    Resource::Service(Arc::new(Service {
        key: key.into(),
        namespace: key.split('/').next().unwrap().into(),
        addresses: vec![],
        ports: (80..).zip(backends).map(port).collect(),
        waypoint: waypoint.map(BackendKey::from),
        consumer_waypoints: consumers.iter().map(consumer).collect(),
        routers: vec![],
    }))
}

pub(crate) fn workload(key: &str, node: &str, authorizations: &[&str]) -> Resource {
    Resource::Workload(Arc::new(Workload {
        key: key.into(),
        uid: "uid".into(),
        addresses: vec![],
        identity: "spiffe://cluster.local/ns/shop/sa/a".parse().unwrap(),
        node: node.into(),
        node_uid: None,
        mesh: Mesh::Captured(MutualTls::Strict),
        aside: None,
        probes: vec![],
        authorizations: authorizations.iter().map(|it| (*it).into()).collect(),
    }))
}

pub(crate) fn authorization(name: &str, port: u16) -> Resource {
    let rule = fairway_policy::Rule::when(vec![Condition::PortIs(vec![port])]);
    Resource::Authorization(Arc::new(Authorization::new(name, Action::Deny, vec![rule])))
}

pub(crate) fn rate_limit(name: &str, is_closed: bool) -> Resource {
    let limits = if is_closed { Limits::Closed } else { Limits::Each(vec![]) };
    Resource::RateLimit(Arc::new(RateLimit { name: name.into(), mode: Mode::Enforce, limits }))
}

pub(crate) fn authentication(name: &str) -> Resource {
    Resource::Authentication(Arc::new(Authentication::closed(name.into(), Mode::Enforce)))
}

pub(crate) fn certificate(key: &str) -> Resource {
    Resource::Certificate(Arc::new(arbitrary::certificate_named(CertificateKey::from(key)).unwrap()))
}

/// One change of the world.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Put(Resource),
    Remove(ResourceKey),
}

/// Upserts and removals of one commit; of several edits of one resource the last one counts.
pub(crate) fn commit(edits: Vec<Edit>) -> (Vec<Resource>, Vec<ResourceKey>) {
    let mut last = std::collections::BTreeMap::new();
    for edit in edits {
        match edit {
            Edit::Put(resource) => last.insert(resource.key(), Some(resource)),
            Edit::Remove(key) => last.insert(key, None),
        };
    }
    let (upserts, removals): (Vec<_>, Vec<_>) =
        last.into_iter().partition(|(_, resource)| resource.is_some());
    (
        upserts.into_iter().filter_map(|(_, it)| it).collect(),
        removals.into_iter().map(|(key, _)| key).collect(),
    )
}

pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    (resource(), prop::bool::weighted(0.3)).prop_map(|(resource, remove)| {
        if remove { Edit::Remove(resource.key()) } else { Edit::Put(resource) }
    })
}

fn resource() -> impl Strategy<Value = Resource> {
    let judges = proptest::sample::subsequence(AUTHORIZATIONS.to_vec(), 0..=1);
    let limits = proptest::sample::subsequence(LIMITS.to_vec(), 0..=1);
    let asks = proptest::sample::subsequence(AUTHENTICATIONS.to_vec(), 0..=1);
    (unjudged(), judges, limits, asks)
        .prop_map(|(resource, judges, limits, asks)| guarded(resource, &judges, &limits, &asks))
}

/// The same, judged by these authorizations, counted by these limits and asked by these authentications, if it is of a kind that names
/// some.
fn guarded(resource: Resource, judges: &[&str], limits: &[&str], asks: &[&str]) -> Resource {
    let authentications: Vec<AuthenticationKey> = asks.iter().map(|it| (*it).into()).collect();
    let authorizations: Vec<AuthorizationKey> = judges.iter().map(|it| (*it).into()).collect();
    let limits: Vec<RateLimitKey> = limits.iter().map(|it| (*it).into()).collect();
    match resource {
        Resource::Listener(it) => {
            let it = Arc::unwrap_or_clone(it);
            Resource::Listener(Arc::new(Listener { authorizations, limits, authentications, ..it }))
        }
        Resource::Backend(it) => {
            let it = Arc::unwrap_or_clone(it);
            Resource::Backend(Arc::new(Backend { authorizations, limits, authentications, ..it }))
        }
        Resource::Route(it) => {
            let mut route = Arc::unwrap_or_clone(it);
            for it in &mut route.rules {
                it.authorizations.clone_from(&authorizations);
                it.limits.clone_from(&limits);
                it.authentications.clone_from(&authentications);
            }
            Resource::Route(Arc::new(route))
        }
        other => other,
    }
}

fn unjudged() -> impl Strategy<Value = Resource> {
    let one_of_services = || select(&SERVICES[..]);
    let one_of_backends = || select(&BACKENDS[..]);
    let protocol = prop_oneof![
        Just(ListenerProtocol::Http),
        Just(ListenerProtocol::Hbone),
        select(vec!["shop/tls1", "shop/tls2"]).prop_map(|it| {
            ListenerProtocol::Https(TlsTermination {
                certificates: vec![it.into()],
                clients: None,
                min_version: Default::default(),
                algorithms: Default::default(),
            })
        }),
        one_of_services().prop_map(|it| ListenerProtocol::Service { service: it.into(), port: 80 }),
    ];
    let section = || select(vec!["x", "y"]);
    let audience = prop_oneof![Just(Audience::Producer), select(vec!["shop", "blog"]).prop_map(consumer)];
    let attachment = prop_oneof![
        (select(&GATEWAYS[..]), section())
            .prop_map(|(gateway, section)| at_listener(&format!("{gateway}/{section}"))),
        (one_of_services(), audience).prop_map(|(service, audience)| at_service(service, audience)),
    ];
    let attachment = attachment.boxed();
    let at_l4 = vec(attachment.clone(), 1..3);
    let a_rule = (vec(one_of_backends(), 0..3), of(one_of_backends()))
        .prop_map(|(backends, mirror)| rule("/", &backends, mirror));
    let waypoint = || select(&WAYPOINTS[..]);
    let consumers = vec((select(vec!["shop", "blog"]), waypoint()), 0..3);
    prop_oneof![
        2 => (select(&GATEWAYS[..]), section(), protocol).prop_map(|(gateway, section, it)| listener(gateway, section, it)),
        4 => (select(vec!["r1", "r2", "r3"]), vec(attachment, 1..4), vec(a_rule, 0..3))
            .prop_map(|(name, attachments, rules)| route(name, attachments, rules)),
        2 => (select(vec!["t1", "t2"]), at_l4, vec(one_of_backends(), 0..2))
            .prop_map(|(name, attachments, backends)| l4_route(name, attachments, &backends)),
        2 => (one_of_backends(), 80..82_u16, of(waypoint())).prop_map(|(key, port, via)| backend(key, port, via)),
        2 => (prop_oneof![one_of_backends(), waypoint()], 0..3_u8).prop_map(|(key, count)| endpoints(key, count)),
        1 => select(vec!["shop/tls1", "shop/tls2"]).prop_map(certificate),
        4 => (one_of_services(), of(waypoint()), consumers, vec(one_of_backends(), 0..3))
            .prop_map(|(key, waypoint, consumers, ports)| service(key, waypoint, &consumers, &ports)),
        2 => (select(vec!["shop/p1", "shop/p2"]), select(vec!["n1", "n2"]), proptest::sample::subsequence(AUTHORIZATIONS.to_vec(), 0..=2))
            .prop_map(|(key, node, authorizations)| workload(key, node, &authorizations)),
        1 => (select(&AUTHORIZATIONS[..]), 80..82_u16).prop_map(|(name, port)| authorization(name, port)),
        1 => select(&AUTHENTICATIONS[..]).prop_map(authentication),
        1 => (select(&LIMITS[..]), any::<bool>()).prop_map(|(name, is_closed)| rate_limit(name, is_closed)),
    ]
}
