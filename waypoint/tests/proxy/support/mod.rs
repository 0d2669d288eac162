//! A whole proxy on loopback, from a configuration made by hand, and backends that do as they are told.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

pub mod backend;
pub mod pki;
pub mod tls;
pub mod wire;

pub use fairway_waypoint::testing::{backend, rule};

use fairway_config::model::{
    AppProtocol, Attachment, BackendTarget, Generation, HostMatch, L4Kind, L4Route, Listener,
    ListenerProtocol, ObjectName, Resource, Route, Rule, Service, ServicePort, WeightedTarget,
};
use fairway_config::{Apply, Delta, Rejected, Snapshot};
use fairway_identity::IdentityHandle;
use fairway_runtime::drain;
use fairway_waypoint::{Applier, ProxySettings, Waypoint, testing};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub const LISTENER: &str = "shop/gateway/web";

/// A running proxy and the configuration it has.
pub struct Proxy {
    pub applier: Applier,
    pub waypoint: Waypoint,
    pub drain: Option<drain::Trigger>,
    pub snapshot: Snapshot,
}

impl Proxy {
    /// With one worker and settings as they are.
    pub fn start(resources: Vec<Resource>) -> Self {
        Self::start_with(resources, |_| ())
    }

    pub fn start_with(resources: Vec<Resource>, tune: impl FnOnce(&mut ProxySettings)) -> Self {
        Self::start_as(None, resources, tune)
    }

    /// With an identity in a mesh.
    pub fn start_as(
        identity: Option<IdentityHandle>,
        resources: Vec<Resource>,
        tune: impl FnOnce(&mut ProxySettings),
    ) -> Self {
        let mut settings = ProxySettings::new(ObjectName::new("shop", "gateway"));
        settings.workers = NonZeroUsize::MIN;
        tune(&mut settings);
        let (trigger, watch) = drain::channel();
        let (waypoint, applier) = Waypoint::start(settings, identity, watch).unwrap();
        let mut proxy = Self { applier, waypoint, drain: Some(trigger), snapshot: Snapshot::default() };
        proxy.apply(resources).unwrap();
        proxy
    }

    /// Adds to the configuration, or replaces parts of it.
    pub fn apply(&mut self, upserts: Vec<Resource>) -> Result<(), Vec<Rejected>> {
        self.apply_delta(Delta { upserts, ..Delta::default() })
    }

    pub fn apply_delta(&mut self, mut delta: Delta) -> Result<(), Vec<Rejected>> {
        delta.generation = Generation(self.snapshot.generation.0 + 1);
        let (next, changes) = self.snapshot.apply(delta);
        self.applier.apply(&next, &changes)?;
        self.snapshot = next;
        Ok(())
    }

    /// Where its one socket is.
    pub fn address(&self) -> SocketAddr {
        self.applier.bound().next().unwrap().1
    }

    /// Where its socket at this address of loopback is.
    pub fn at(&self, address: IpAddr) -> SocketAddr {
        self.applier.bound().find(|(_, bound)| bound.ip() == address).unwrap().1
    }

    /// What the workers have counted, as a scrape shows it.
    pub fn scrape(&self) -> String {
        let metrics = fairway_runtime::metrics::Metrics::new("waypoint", "test");
        metrics.with_registry(|registry| registry.register_collector(Box::new(self.waypoint.metrics())));
        metrics.encode()
    }
}

/// A listener on a free port of loopback.
pub fn listener(protocol: ListenerProtocol) -> Listener {
    let addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    Listener { addresses, port: 0, protocol, ..testing::listener(LISTENER) }
}

pub fn http() -> Resource {
    Resource::Listener(Arc::new(listener(ListenerProtocol::Http)))
}

/// A route for everything that [`LISTENER`] takes.
pub fn route(name: &str, rules: Vec<Rule>) -> Route {
    testing::route(name, LISTENER, rules)
}

pub fn hosts(names: &[&str]) -> Vec<HostMatch> {
    let host = |name: &&str| HostMatch { effective: name.parse().unwrap(), original: name.parse().unwrap() };
    names.iter().map(host).collect()
}

pub fn routed(rules: Vec<Rule>) -> Resource {
    Resource::Route(Arc::new(route("route", rules)))
}

/// A route for the bytes or datagrams of a listener, to backends by weight.
pub fn l4_route(kind: L4Kind, listener: &str, hostnames: &[&str], backends: &[(u32, &str)]) -> Resource {
    let target = |&(weight, backend): &(u32, &str)| WeightedTarget {
        weight,
        target: BackendTarget::Backend(backend.into()),
    };
    Resource::L4Route(Arc::new(L4Route {
        key: format!("{kind:?}Route/{listener}").into(),
        kind,
        object: ObjectName::new("shop", listener),
        created: 0,
        attachments: vec![Attachment::Listener { listener: listener.into(), hostnames: hosts(hostnames) }],
        rule: None,
        backends: backends.iter().map(target).collect(),
    }))
}

/// A listener by another name than [`LISTENER`].
pub fn named(key: &str, hostname: Option<&str>, protocol: ListenerProtocol) -> Listener {
    let section = key.rsplit('/').next().unwrap();
    let hostname = hostname.map(|it| it.parse().unwrap());
    Listener { key: key.into(), section: section.into(), hostname, ..listener(protocol) }
}

pub fn service(key: &str, address: IpAddr, port: u16, protocol: AppProtocol) -> Resource {
    Resource::Service(Arc::new(Service {
        key: key.into(),
        namespace: key.split('/').next().unwrap().into(),
        addresses: vec![address],
        ports: vec![ServicePort { port, name: None, protocol, backend: format!("{key}:{port}").into() }],
        waypoint: None,
        consumer_waypoints: vec![],
        routers: vec![],
    }))
}

/// One listener, one catch-all route, one backend `shop/web:80` at these addresses.
pub fn simple(protocol: AppProtocol, addresses: &[SocketAddr]) -> Vec<Resource> {
    with_rule(rule("/", "shop/web:80"), protocol, addresses)
}

pub fn with_rule(rule: Rule, protocol: AppProtocol, addresses: &[SocketAddr]) -> Vec<Resource> {
    let mut resources = backend("shop/web:80", protocol, addresses);
    resources.extend([http(), routed(vec![rule])]);
    resources
}

/// Waits until a condition holds that another thread brings about without a notification. Panics after [`wire::LONG`].
pub async fn wait_for(holds: impl Fn() -> bool) {
    let polling = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(2));
        while !holds() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(wire::LONG, polling).await.expect("the condition holds in time");
}

/// Waits until a counter has not changed for 300 ms, and returns it. Panics after [`wire::LONG`].
pub async fn until_unchanged(counter: &AtomicUsize) -> usize {
    let settling = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(300));
        let mut before = usize::MAX;
        loop {
            ticks.tick().await;
            let now = counter.load(Ordering::SeqCst);
            if now == before {
                return now;
            }
            before = now;
        }
    };
    tokio::time::timeout(wire::LONG, settling).await.expect("the counter settles in time")
}
