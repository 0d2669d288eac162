//! Limits across commits: whose memory they take, and what stays of Services that have gone.

use super::super::Tables;
use crate::fixtures::listener;
use crate::limit::{Limiter, Nanos, Room, Who};
use crate::upstream::cluster::Registry;
use fairway_config::model::{
    AppProtocol, Backend, Endpoints, Limit, LimitKeyPart, Limits, Listener, ListenerProtocol, RateLimit,
    RateLimitKey, Resource, ResourceKey, ResourceKind,
};
use fairway_config::{Delta, Snapshot};
use fairway_policy::Mode;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

const KEY: HeaderName = HeaderName::from_static("x-key");

/// A limit of one an hour for each value of a header.
fn limits(name: &str) -> Resource {
    let one = NonZeroU32::MIN;
    let key = vec![LimitKeyPart::Header(KEY)];
    let limit =
        Limit { name: None, requests: one, per: Duration::from_secs(3600), burst: one, key, matches: None };
    Resource::RateLimit(Arc::new(RateLimit {
        name: name.into(),
        mode: Mode::Enforce,
        limits: Limits::Each(vec![limit]),
    }))
}

struct World {
    snapshot: Snapshot,
    tables: Tables,
    registry: Registry,
}

// === impl World ===

impl World {
    fn new() -> Self {
        Self { snapshot: Snapshot::default(), tables: Tables::default(), registry: Registry::default() }
    }

    fn apply(&mut self, upserts: Vec<Resource>, removals: Vec<ResourceKey>) {
        let (next, changes) = self.snapshot.apply(Delta { upserts, removals, ..Delta::default() });
        self.tables = self.tables.next(&next, &changes, &mut self.registry).unwrap();
        self.snapshot = next;
    }

    fn limiter(&self, name: &str) -> Option<Arc<Limiter>> {
        let target = self.tables.limits().get(&RateLimitKey::from(name))?;
        target.counted().first().map(|it| it.limiter.clone())
    }

    /// How many of these clients pass.
    fn pass(&self, name: &str, clients: std::ops::Range<u32>) -> usize {
        let limiter = self.limiter(name).unwrap();
        let passes = |it: &u32| {
            let headers = HeaderMap::from_iter([(KEY, HeaderValue::from(*it))]);
            let client = limiter.client(&Who { address: None, identity: None, headers: &headers });
            limiter.take(client, Nanos::after(Duration::from_secs(1))).is_ok()
        };
        clients.filter(passes).count()
    }
}

#[test]
fn a_namespace_that_fills_its_room_leaves_others_theirs() {
    let mut world = World::new();
    let loud: Vec<String> = (0..20).map(|it| format!("loud/p{it}@HTTPRoute/r")).collect();
    world.apply(loud.iter().map(|it| limits(it)).collect(), vec![]);
    for name in &loud {
        assert_eq!(world.pass(name, 0..20_000), 20_000);
    }
    for number in 0..40 {
        let quiet = format!("quiet{number}/p@HTTPRoute/r");
        world.apply(vec![limits(&quiet)], vec![]);
        assert_eq!(world.pass(&quiet, 0..1000), 1000);
        assert_eq!(world.pass(&quiet, 0..1000), 0, "{number}: each of its clients has a bucket of its own");
    }
    let limits = world.tables.limits();
    let used = |namespace: &str| limits.rooms.of(namespace).map_or(0, Room::used);
    assert!(used("loud") <= (64 << 20) / 41, "{}", used("loud"));
    assert!(used("loud") > 0, "it has its own part");
}

#[test]
fn what_is_counted_stays_when_namespaces_come_and_go() {
    let mut world = World::new();
    world.apply(vec![limits("a/p@HTTPRoute/r")], vec![]);
    assert_eq!(world.pass("a/p@HTTPRoute/r", 0..1000), 1000);
    let others: Vec<String> = (0..20).map(|it| format!("b{it}/p@HTTPRoute/r")).collect();
    world.apply(others.iter().map(|it| limits(it)).collect(), vec![]);
    assert_eq!(world.pass("a/p@HTTPRoute/r", 0..1000), 0);
    world.apply(
        vec![],
        others.iter().map(|it| ResourceKey::new(ResourceKind::RateLimit, it.as_str())).collect(),
    );
    assert_eq!(world.pass("a/p@HTTPRoute/r", 0..1000), 0);
}

#[test]
fn a_limit_that_comes_to_a_namespace_which_has_filled_its_room_tells_clients_apart() {
    let mut world = World::new();
    let loud: Vec<String> = (0..20).map(|it| format!("a/p{it}@HTTPRoute/r")).collect();
    let mut all: Vec<Resource> = loud.iter().map(|it| limits(it)).collect();
    all.push(limits("a/unused@HTTPRoute/r"));
    world.apply(all, vec![]);
    for name in &loud {
        assert_eq!(world.pass(name, 0..20_000), 20_000);
    }
    let used = world.tables.limits().rooms.of("a").map_or(0, Room::used);
    assert!(used > 15 << 20, "the largest level does not fit any more: {used}");
    // Together these do not fit either.
    let small: Vec<String> = (0..200).map(|it| format!("a/q{it}@HTTPRoute/r")).collect();
    world.apply(small.iter().map(|it| limits(it)).collect(), vec![]);
    for name in small.iter().map(String::as_str).chain(["a/unused@HTTPRoute/r"]) {
        assert_eq!(world.pass(name, 0..30), 30, "{name}");
        assert_eq!(world.pass(name, 0..30), 0, "{name}: each of its clients has a bucket of its own");
    }
    let kept: usize = loud.iter().map(|it| 20_000 - world.pass(it, 0..20_000)).sum();
    assert!(kept > 200_000, "what there is room for stays: {kept}");
    assert!(world.tables.limits().rooms.of("a").unwrap().used() <= 16 << 20);
    // Where there is nothing to be had nothing moves.
    let before = world.tables.limits().rooms.of("a").unwrap().clone();
    world.apply(vec![limits("b/p@HTTPRoute/r")], vec![]);
    assert!(world.tables.limits().rooms.of("a").unwrap().is(&before));
}

/// The one port of a Service that a limit is for.
fn service(name: &str) -> Vec<Resource> {
    let key = format!("shop/{name}:80");
    let [backend, endpoints] = crate::testing::backend(&key, AppProtocol::Http1, &[]).try_into().unwrap();
    let Resource::Backend(backend) = backend else { panic!("{backend:?}") };
    let limited = vec![format!("shop/{name}@Service/{name}").into()];
    let backend = Backend { limits: limited, ..Arc::unwrap_or_clone(backend) };
    vec![Resource::Backend(Arc::new(backend)), endpoints, limits(&format!("shop/{name}@Service/{name}"))]
}

fn gone(resources: &[Resource]) -> Vec<ResourceKey> {
    resources.iter().map(Resource::key).collect()
}

#[test]
fn a_limited_service_that_leaves_its_waypoint_is_served_once_more_and_counted_as_before() {
    let mut world = World::new();
    let hbone = Listener { protocol: ListenerProtocol::Hbone, ..listener("mesh", None) };
    world.apply(vec![Resource::Listener(Arc::new(hbone))], vec![]);
    world.apply(service("web"), vec![]);
    let name = "shop/web@Service/web";
    assert_eq!(world.pass(name, 0..10), 10);
    world.apply(vec![], gone(&service("web")));
    let cluster = world.tables.service_cluster(&"shop/web:80".into()).unwrap().clone();
    for key in cluster.limits() {
        assert!(world.tables.limits().get(key).is_some_and(|it| !it.is_closed()), "{key} is not known");
    }
    assert_eq!(world.pass(name, 0..20), 10, "those that were counted are");
    // Another commit leaves it; and when it comes back what is new holds.
    world.apply(service("other"), vec![]);
    assert!(world.limiter(name).is_some());
    world.apply(service("web"), vec![]);
    assert_eq!(world.pass(name, 0..10), 10);
    // As many are remembered as backends are.
    world.apply(vec![], gone(&service("web")));
    for number in 0..64 {
        world.apply(service(&format!("s{number}")), vec![]);
        world.apply(vec![], gone(&service(&format!("s{number}"))));
    }
    assert!(world.tables.service_cluster(&"shop/web:80".into()).is_none());
    assert!(world.limiter(name).is_none());
}

#[test]
fn a_gateway_remembers_no_limits_of_what_has_gone() {
    let mut world = World::new();
    world.apply(service("web"), vec![]);
    world.apply(vec![], gone(&service("web")));
    assert!(world.limiter("shop/web@Service/web").is_none());
}

#[test]
fn endpoints_alone_are_guarded_by_nothing_that_is_known() {
    let endpoints = Endpoints::of_anybody("waypoint/shop/w".into(), vec![]);
    let mut world = World::new();
    world.apply(vec![Resource::Endpoints(Arc::new(endpoints))], vec![]);
    assert!(!world.tables.guards_backends());
}
