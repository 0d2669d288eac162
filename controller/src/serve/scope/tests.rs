//! The scope against a second, naive reading of what each proxy needs, and step by step against from scratch.

use crate::serve::hub_state::{Held, HubState};
use crate::serve::tests::universe::*;
use fairway_config::model::{
    Attachment, Audience, AuthenticationKey, BackendTarget, Filter, ListenerProtocol, RateLimitKey, Resource,
    ResourceKey, ResourceKind, Route, ServiceKey,
};
use fairway_config::stream::{Proxy, Subscription};
use fairway_config::wire;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;

type World = BTreeMap<ResourceKey, Resource>;

fn world(resources: Vec<Resource>) -> World {
    resources.into_iter().map(|it| (it.key(), it)).collect()
}

fn state(world: &World) -> HubState {
    let mut state = HubState::default();
    enter(&mut state, world.values().cloned().collect(), vec![]);
    state
}

fn enter(state: &mut HubState, upserts: Vec<Resource>, removals: Vec<ResourceKey>) {
    let upserts = upserts.into_iter().map(|it| (it.clone(), Arc::new(wire::encode(&it)))).collect();
    state.commit(upserts, removals);
}

fn names(keys: impl IntoIterator<Item = ResourceKey>) -> Vec<String> {
    keys.into_iter().map(|key| key.to_string()).collect()
}

fn scope(world: &World, proxy: &Proxy) -> Vec<String> {
    names(state(world).scope(proxy).into_keys())
}

// === The naive reading ===

/// What a proxy needs, straight from the words of the design.
fn needs(world: &World, proxy: &Proxy) -> BTreeSet<ResourceKey> {
    match proxy {
        Proxy::Everything => world.keys().cloned().collect(),
        Proxy::Node(node) => node_needs(world, node),
        Proxy::Gateway(gateway) => gateway_needs(world, &gateway.to_string()),
    }
}

fn node_needs(world: &World, node: &str) -> BTreeSet<ResourceKey> {
    let local: BTreeSet<_> = world
        .values()
        .filter_map(|it| match it {
            Resource::Workload(it) if &*it.node == node => Some(it.authorizations.clone()),
            _ => None,
        })
        .flatten()
        .map(|it| it.as_arc())
        .collect();
    let needed = |key: &&ResourceKey| match key.kind {
        ResourceKind::Service | ResourceKind::Endpoints | ResourceKind::Workload => true,
        ResourceKind::Authorization => local.contains(&key.name),
        _ => false,
    };
    world.keys().filter(needed).cloned().collect()
}

fn gateway_needs(world: &World, gateway: &str) -> BTreeSet<ResourceKey> {
    let (mut needed, mut backends, mut judges) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let (mut routed, mut listeners) = (BTreeSet::new(), BTreeSet::new());
    let is_waypoint = |it: &Resource| match it {
        Resource::Listener(it) => {
            it.gateway.to_string() == gateway && matches!(it.protocol, ListenerProtocol::Hbone)
        }
        _ => false,
    };
    let namespace = gateway.split('/').next().filter(|_| world.values().any(is_waypoint));
    for it in world.values() {
        match it {
            Resource::Listener(it) if it.gateway.to_string() == gateway => {
                listeners.insert(it.key.clone());
                needed.insert(ResourceKey::new(ResourceKind::Listener, it.key.as_arc()));
                judges.extend(it.authorizations.iter().cloned());
                needed.extend(limits(&it.limits));
                needed.extend(authentications(&it.authentications));
                let shown = it.backend_certificate.iter();
                needed.extend(shown.map(|it| ResourceKey::new(ResourceKind::Certificate, it.as_arc())));
                match &it.protocol {
                    ListenerProtocol::Https(tls) | ListenerProtocol::TlsTerminate(tls) => needed.extend(
                        tls.certificates
                            .iter()
                            .map(|it| ResourceKey::new(ResourceKind::Certificate, it.as_arc())),
                    ),
                    ListenerProtocol::Service { service, .. } => {
                        routed.insert((service.clone(), Audience::Producer));
                    }
                    _ => {}
                }
            }
            Resource::Service(it) if namespace == Some(&*it.namespace) => {
                routed.insert((it.key.clone(), Audience::Producer));
            }
            Resource::Route(it) => routed.extend(consumed(&it.attachments, namespace)),
            Resource::L4Route(it) => routed.extend(consumed(&it.attachments, namespace)),
            _ => {}
        }
    }
    let here = |it: &Attachment| match it {
        Attachment::Listener { listener, .. } => listeners.contains(listener),
        Attachment::Service { service, audience, .. } => {
            routed.contains(&(service.clone(), audience.clone()))
        }
    };
    for it in world.values() {
        match it {
            Resource::Service(it) if routed.iter().any(|(service, _)| *service == it.key) => {
                // A Service that is dialled brings its backends.
                needed.insert(ResourceKey::new(ResourceKind::Service, it.key.as_arc()));
                backends.extend(it.ports.iter().map(|it| it.backend.clone()));
            }
            Resource::L4Route(it) if it.attachments.iter().any(here) => {
                needed.insert(ResourceKey::new(ResourceKind::L4Route, it.key.as_arc()));
                backends.extend(it.backends.iter().filter_map(|it| match &it.target {
                    BackendTarget::Backend(key) => Some(key.clone()),
                    BackendTarget::Unresolved(_) => None,
                }));
            }
            Resource::Route(it) if it.attachments.iter().any(here) => {
                needed.insert(ResourceKey::new(ResourceKind::Route, it.key.as_arc()));
                backends.extend(named_by(it));
                judges.extend(it.rules.iter().flat_map(|it| it.authorizations.clone()));
                needed.extend(it.rules.iter().flat_map(|it| limits(&it.limits)));
                needed.extend(it.rules.iter().flat_map(|it| authentications(&it.authentications)));
            }
            _ => {}
        }
    }
    let via = backends.iter().filter_map(|key| {
        match world.get(&ResourceKey::new(ResourceKind::Backend, key.as_arc())) {
            Some(Resource::Backend(it)) => it.via.as_ref().map(|(waypoint, _)| waypoint.as_arc()),
            _ => None,
        }
    });
    let via: Vec<_> = via.map(|it| ResourceKey::new(ResourceKind::Endpoints, it)).collect();
    needed.extend(via);
    for key in backends {
        let held = world.get(&ResourceKey::new(ResourceKind::Backend, key.as_arc()));
        if let Some(Resource::Backend(it)) = held {
            judges.extend(it.authorizations.iter().cloned());
            needed.extend(limits(&it.limits));
            needed.extend(authentications(&it.authentications));
        }
        needed.insert(ResourceKey::new(ResourceKind::Backend, key.as_arc()));
        needed.insert(ResourceKey::new(ResourceKind::Endpoints, key.as_arc()));
    }
    needed.extend(judges.iter().map(|it| ResourceKey::new(ResourceKind::Authorization, it.as_arc())));
    needed.retain(|key| world.contains_key(key));
    needed
}

fn authentications(names: &[AuthenticationKey]) -> impl Iterator<Item = ResourceKey> {
    names.iter().map(|it| ResourceKey::new(ResourceKind::Authentication, it.as_arc()))
}

fn limits(names: &[RateLimitKey]) -> impl Iterator<Item = ResourceKey> {
    names.iter().map(|it| ResourceKey::new(ResourceKind::RateLimit, it.as_arc()))
}

/// The Services that a namespace's own routes are for.
fn consumed(attachments: &[Attachment], by: Option<&str>) -> Vec<(ServiceKey, Audience)> {
    let consumed = attachments.iter().filter_map(|it| match it {
        Attachment::Service { service, audience: Audience::Consumer(it), .. } if by == Some(&**it) => {
            Some((service.clone(), Audience::Consumer(it.clone())))
        }
        _ => None,
    });
    consumed.collect()
}

fn named_by(route: &Route) -> Vec<fairway_config::model::BackendKey> {
    let mut named = Vec::new();
    for rule in &route.rules {
        let mut filters: Vec<_> = rule.filters.iter().collect();
        let mut targets = Vec::new();
        for it in &rule.backends {
            targets.push(&it.target);
            filters.extend(&it.filters);
        }
        for it in filters {
            if let Filter::Mirror(mirror) = it {
                targets.push(&mirror.target);
            }
        }
        for it in targets {
            if let BackendTarget::Backend(key) = it {
                named.push(key.clone());
            }
        }
    }
    named
}

// === Tests ===

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn step_by_step_gives_what_from_scratch_gives_and_what_the_design_says(
        commits in proptest::collection::vec(proptest::collection::vec(edit(), 0..8), 1..12),
    ) {
        let (mut world, mut state) = (World::new(), HubState::default());
        for proxy in proxies() {
            let subscription = Subscription::new(proxy, "test");
            state.subscribe(subscription, &Held::default(), Arc::new(Notify::new()));
        }
        for edits in commits {
            let (upserts, removals) = commit(edits);
            removals.iter().for_each(|key| { world.remove(key); });
            world.extend(upserts.iter().map(|it| (it.key(), it.clone())));
            enter(&mut state, upserts, removals);
            for proxy in proxies() {
                prop_assert!(state.view_is_as_from_scratch(&proxy), "{proxy}");
                let scope: BTreeSet<_> = state.scope(&proxy).into_keys().collect();
                prop_assert_eq!(scope, needs(&world, &proxy), "{}", proxy);
            }
        }
    }
}

/// A Gateway, a waypoint in `shop` for `shop/a`, one in `blog` whose namespace routes `shop/a` itself, and two nodes.
fn bookshop() -> World {
    world(vec![
        listener("shop/gw", "x", ListenerProtocol::Https(tls("shop/tls1"))),
        listener("shop/wp", "mesh", ListenerProtocol::Hbone),
        listener("blog/wp", "mesh", ListenerProtocol::Hbone),
        certificate("shop/tls1"),
        certificate("shop/tls2"),
        route("front", vec![at_listener("shop/gw/x")], vec![rule("/", &["shop/b:80"], Some("blog/c:80"))]),
        route(
            "producer",
            vec![at_service("shop/a", Audience::Producer)],
            vec![rule("/", &["shop/a:80"], None)],
        ),
        route(
            "consumer",
            vec![at_service("shop/a", consumer("blog"))],
            vec![rule("/", &["shop/b:80"], None)],
        ),
        service("shop/a", Some("waypoint/shop/wp"), &[("blog", "waypoint/blog/wp")], &["shop/a:80"]),
        service("shop/b", None, &[], &["shop/b:80"]),
        backend("shop/a:80", 80, None),
        backend("shop/b:80", 80, Some("waypoint/shop/wp")),
        backend("blog/c:80", 80, None),
        endpoints("shop/a:80", 1),
        endpoints("shop/b:80", 1),
        endpoints("blog/c:80", 1),
        endpoints("waypoint/shop/wp", 1),
        workload("shop/p1", "n1", &["one"]),
        workload("shop/p2", "n2", &[]),
        authorization("one", 80),
        authorization("two", 80),
    ])
}

fn tls(certificate: &str) -> fairway_config::model::TlsTermination {
    fairway_config::model::TlsTermination {
        certificates: vec![certificate.into()],
        clients: None,
        min_version: Default::default(),
        algorithms: Default::default(),
    }
}

#[test]
fn a_gateway_needs_its_listeners_and_what_hangs_from_them() {
    assert_eq!(
        scope(&bookshop(), &gateway("shop/gw")),
        [
            "Listener shop/gw/x",
            "Route HTTPRoute/shop/front",
            "Backend blog/c:80",
            "Backend shop/b:80",
            "Endpoints blog/c:80",
            "Endpoints shop/b:80",
            "Endpoints waypoint/shop/wp",
            "Certificate shop/tls1",
        ]
    );
}

#[test]
fn a_waypoint_needs_the_services_of_its_namespace_and_their_producer_routes() {
    assert_eq!(
        scope(&bookshop(), &gateway("shop/wp")),
        [
            "Listener shop/wp/mesh",
            "Route HTTPRoute/shop/producer",
            "Backend shop/a:80",
            "Backend shop/b:80",
            "Endpoints shop/a:80",
            "Endpoints shop/b:80",
            "Endpoints waypoint/shop/wp",
            "Service shop/a",
            "Service shop/b",
        ]
    );
}

#[test]
fn a_consumers_waypoint_knows_its_services_before_anybody_is_sent_to_it() {
    let mut world = bookshop();
    let unbound = service("shop/a", None, &[], &["shop/a:80"]);
    world.insert(unbound.key(), unbound);
    assert_eq!(scope(&world, &gateway("blog/wp")), scope(&bookshop(), &gateway("blog/wp")));
}

#[test]
fn a_consumers_waypoint_needs_the_routes_of_its_own_namespace_only() {
    assert_eq!(
        scope(&bookshop(), &gateway("blog/wp")),
        [
            "Listener blog/wp/mesh",
            "Route HTTPRoute/shop/consumer",
            "Backend shop/a:80",
            "Backend shop/b:80",
            "Endpoints shop/a:80",
            "Endpoints shop/b:80",
            "Endpoints waypoint/shop/wp",
            "Service shop/a",
        ]
    );
}

#[test]
fn a_node_needs_all_destinations_but_only_its_own_pods_authorizations() {
    let n1 = scope(&bookshop(), &Proxy::Node("n1".into()));
    let n2 = scope(&bookshop(), &Proxy::Node("n2".into()));
    assert_eq!(n1.iter().filter(|it| !n2.contains(it)).collect::<Vec<_>>(), ["Authorization one"]);
    assert!(n2.iter().all(|it| n1.contains(it)));
    assert!(
        n2.iter().all(|it| { ["Service", "Endpoints", "Workload"].iter().any(|kind| it.starts_with(kind)) })
    );
}

#[test]
fn a_service_listener_brings_its_service_with_the_producers_routes() {
    let mut world = bookshop();
    let standalone =
        listener("shop/local", "a", ListenerProtocol::Service { service: "shop/a".into(), port: 80 });
    world.insert(standalone.key(), standalone);
    assert_eq!(
        scope(&world, &gateway("shop/local")),
        [
            "Listener shop/local/a",
            "Route HTTPRoute/shop/producer",
            "Backend shop/a:80",
            "Endpoints shop/a:80",
            "Service shop/a"
        ]
    );
}
