//! What routes cost: memory at rest, the time of an edit, the time of choosing a rule. `cargo bench -p fairway-waypoint`.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used)]

use fairway_config::model::{
    AddressSource, AppProtocol, Attachment, Backend, BackendTarget, Endpoint, EndpointState, Endpoints,
    HeaderMatch, HostMatch, Listener, ListenerProtocol, Match, ObjectName, PathMatch, Pattern, Resource,
    Route, RouteKind, Rule, Timeouts, ValueMatch, WeightedBackend,
};
use fairway_config::wire::{decode, encode};
use fairway_config::{Delta, Snapshot};
use fairway_waypoint::route::{RequestHead, select};
use fairway_waypoint::table::{Socket, SocketKind, Tables};
use fairway_waypoint::upstream::cluster::Registry;
use std::hint::black_box;
use std::sync::Arc;
use tokio::time::Instant;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How the hostnames of routes are spread.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// Each route has its own.
    OwnHost,
    /// All share one, and differ by path.
    OneHost,
    /// All share one, and differ by a regular expression over the path; these are looked through one by one.
    Expressions,
}

fn main() {
    for spread in [Spread::OwnHost, Spread::OneHost] {
        for size in [50, 5_000, 50_000] {
            measure(spread, size);
        }
    }
    for size in [50, 1_000] {
        measure(Spread::Expressions, size);
    }
}

fn measure(spread: Spread, size: usize) {
    let mut registry = Registry::default();
    let before = resident();
    // As they come to a proxy.
    let received = (0..size).flat_map(|it| resources(spread, it, 0)).chain([listener()]);
    let received = received.map(|it| decode(encode(&it).bytes).expect("a resource"));
    let upserts = received.collect();
    let (snapshot, changes) = Snapshot::default().apply(Delta { upserts, ..Delta::default() });
    let of_snapshot = resident().saturating_sub(before);
    let start = Instant::now();
    let tables = Tables::default().next(&snapshot, &changes, &mut registry).expect("valid tables");
    let built = start.elapsed();
    drop(changes);
    let memory = resident().saturating_sub(before);

    let mut edits: Vec<_> =
        (1..=20).map(|round| edit(&snapshot, &tables, spread, size, round, &mut registry)).collect();
    edits.sort_unstable();

    let (host, path) = names(spread, size / 2);
    let parts = http::Request::get(format!("{path}/users/42"))
        .header("host", host)
        .header("version", "two")
        .body(())
        .expect("a request")
        .into_parts()
        .0;
    let socket = Socket { address: None, port: 80, kind: SocketKind::Stream };
    let mut runs: Vec<_> = (0..20)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..10_000 {
                let head = RequestHead::read(black_box(&parts)).expect("a good request");
                let listener =
                    tables.socket(&socket).and_then(|it| it.for_host(&head.host)).expect("a listener");
                black_box(select(&listener.routes, &head).expect("it is short").expect("a rule"));
            }
            start.elapsed().as_nanos() / 10_000
        })
        .collect();
    runs.sort_unstable();
    println!(
        "{size:>6} routes, {spread:?}: {:>6.1} MiB ({} B a route with backend and endpoint, {} of \
         it tables); built in {built:.1?}; \
         one edit {:.1?} (median of 20); choosing a rule {} ns (median of 20)",
        memory as f64 / f64::from(1 << 20),
        memory / size,
        memory.saturating_sub(of_snapshot) / size,
        edits[edits.len() / 2],
        runs[runs.len() / 2],
    );
}

/// The time from a delta to tables in which it is in force.
fn edit(
    snapshot: &Snapshot,
    tables: &Tables,
    spread: Spread,
    size: usize,
    round: i64,
    registry: &mut Registry,
) -> std::time::Duration {
    let [route, ..] = resources(spread, size / 2, round);
    let start = Instant::now();
    let (next, changes) = snapshot.apply(Delta { upserts: vec![route], ..Delta::default() });
    let next = tables.next(&next, &changes, registry).expect("valid tables");
    let taken = start.elapsed();
    drop(next);
    taken
}

fn names(spread: Spread, index: usize) -> (String, String) {
    match spread {
        Spread::OwnHost => (format!("app-{index}.example.com"), "/api/v1".to_owned()),
        Spread::OneHost | Spread::Expressions => {
            ("app.example.com".to_owned(), format!("/team-{index}/api/v1"))
        }
    }
}

/// A route with two rules, its backend and its endpoint.
fn resources(spread: Spread, index: usize, created: i64) -> [Resource; 3] {
    let (host, path) = names(spread, index);
    let host = host.parse::<fairway_config::model::HostnamePattern>().expect("a hostname");
    let backend: Arc<str> = format!("team-{index}/web:80").into();
    let rule = |headers: Vec<HeaderMatch>| Rule {
        name: None,
        matches: vec![Match {
            path: match spread {
                Spread::Expressions => {
                    PathMatch::Regex(Pattern::new(&format!("{path}/[a-z]+/[0-9]+")).expect("an expression"))
                }
                _ => PathMatch::Prefix(path.as_str().into()),
            },
            headers,
            query: vec![],
            method: None,
        }],
        filters: vec![],
        backends: vec![WeightedBackend {
            weight: 1,
            target: BackendTarget::Backend(backend.clone().into()),
            filters: vec![],
        }],
        timeouts: Timeouts::default(),
        retry: None,
        authorizations: vec![],
        limits: vec![],
        authentications: vec![],
    };
    let version = HeaderMatch {
        name: http::HeaderName::from_static("version"),
        value: ValueMatch::Exact("two".into()),
    };
    let route = Route {
        key: format!("HTTPRoute/team-{index}/web").into(),
        kind: RouteKind::Http,
        object: ObjectName::new(format!("team-{index}"), "web"),
        created,
        attachments: vec![Attachment::Listener {
            listener: "infra/gateway/http".into(),
            hostnames: vec![HostMatch { effective: host.clone(), original: host }],
        }],
        rules: vec![rule(vec![version]), rule(vec![])],
    };
    let endpoint = Endpoint {
        address: ([10, (index >> 16) as u8, (index >> 8) as u8, index as u8], 8080).into(),
        state: EndpointState::Ready,
        identity: format!("spiffe://cluster.local/ns/team-{index}/sa/web").parse().ok(),
        node: None,
        hints: None,
    };
    let of_service = Backend {
        key: backend.clone().into(),
        service: format!("team-{index}/web").into(),
        port: 80,
        protocol: AppProtocol::Http1,
        security: fairway_config::model::BackendSecurity::Plain,
        via: None,
        authorizations: vec![],
        limits: vec![],
        authentications: vec![],
    };
    [
        Resource::Route(Arc::new(route)),
        Resource::Backend(Arc::new(of_service)),
        Resource::Endpoints(Arc::new(Endpoints::of_anybody(backend.into(), vec![endpoint]))),
    ]
}

fn listener() -> Resource {
    Resource::Listener(Arc::new(Listener {
        key: "infra/gateway/http".into(),
        gateway: ObjectName::new("infra", "gateway"),
        section: "http".into(),
        addresses: vec![],
        port: 80,
        hostname: None,
        protocol: ListenerProtocol::Http,
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

/// Resident memory in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|it| it.parse::<usize>().ok()).unwrap_or_default() * 4096
}
