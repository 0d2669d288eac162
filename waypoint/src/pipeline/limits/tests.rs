//! Requests that limits count, through a proxy in memory.

mod attacks;
mod commits;
mod differential;
mod order;

use crate::fixtures::{attachment, listener, prefix, route, rule};
use crate::testing::{MemoryClient, MemoryProxy};
use crate::wire::Version;
use fairway_config::Delta;
use fairway_config::model::{
    AddressSource, AppProtocol, Authorization, AuthorizationKey, Backend, Filter, Limit, LimitKeyPart,
    Limits, Listener, PathMatch, RateLimit, RateLimitKey, Resource, ResourceKey, ResourceKind, Retry, Route,
    Rule, SpiffeId,
};
use fairway_policy::{Condition, Mode};
use http::HeaderName;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::cell::RefCell;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::advance;

/// What a proxy serves: its listener `listener` has one route, to backend `asked`. Endpoints answer with 200.
struct Scene {
    at_listener: Vec<&'static str>,
    at_rule: Vec<&'static str>,
    at_backend: Vec<&'static str>,
    judges: Vec<&'static str>,
    filters: Vec<Filter>,
    retry: Option<Retry>,
    more: Vec<Resource>,
    endpoint: Endpoint,
    address_source: AddressSource,
    path: &'static str,
}

/// What an endpoint does with a request.
#[derive(Clone, Copy, PartialEq)]
enum Endpoint {
    Answers,
    Switches,
    Fails,
}

struct Running {
    proxy: MemoryProxy,
    /// The backends that were reached.
    reached: Rc<RefCell<Vec<String>>>,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            at_listener: vec![],
            at_rule: vec![],
            at_backend: vec![],
            judges: vec![],
            filters: vec![],
            retry: None,
            more: vec![],
            endpoint: Endpoint::Answers,
            address_source: AddressSource::Connection,
            path: "/",
        }
    }
}

impl Scene {
    fn start(self, limits: impl IntoIterator<Item = RateLimit>) -> Running {
        let keys = |names: &[&str]| names.iter().map(|it| RateLimitKey::from(*it)).collect::<Vec<_>>();
        let listener = Listener {
            limits: keys(&self.at_listener),
            address_source: self.address_source,
            ..listener("listener", None)
        };
        let rule = Rule {
            filters: self.filters,
            authorizations: self.judges.iter().map(|it| AuthorizationKey::from(*it)).collect(),
            limits: keys(&self.at_rule),
            retry: self.retry,
            ..rule(vec![prefix(self.path)], "asked")
        };
        let route = Route { attachments: vec![attachment("listener", &[])], rules: vec![rule], ..route("r") };
        let mut resources = vec![Resource::Listener(Arc::new(listener)), Resource::Route(Arc::new(route))];
        for (key, host, names) in [("asked", 1, self.at_backend), ("other", 2, vec![])] {
            let address = ([10, 0, 0, host], 80).into();
            for it in crate::testing::backend(key, AppProtocol::Http1, &[address]) {
                resources.push(match it {
                    Resource::Backend(it) => Resource::Backend(Arc::new(Backend {
                        limits: keys(&names),
                        ..Arc::unwrap_or_clone(it)
                    })),
                    other => other,
                });
            }
        }
        resources.extend(limits.into_iter().map(|it| Resource::RateLimit(Arc::new(it))));
        resources.extend(self.more);
        let reached: Rc<RefCell<Vec<String>>> = Rc::default();
        let (seen, how) = (reached.clone(), self.endpoint);
        let proxy = MemoryProxy::start(resources, move |address, stream| {
            let name = if address.ip().to_string() == "10.0.0.1" { "asked" } else { "other" };
            spawn_local(endpoint(stream, name.to_owned(), seen.clone(), how));
            Ok(())
        });
        Running { proxy: proxy.unwrap(), reached }
    }
}

// === impl Running ===

impl Running {
    /// The status of the response to a request, and all of it in lower case.
    async fn ask_as(&self, client: MemoryClient, line: &str, headers: &str) -> (u16, String) {
        let mut stream = self.proxy.connect(client);
        let head = format!("{line} HTTP/1.1\r\nhost: a.ex\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
        let status = text.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or_default();
        (status, text)
    }

    async fn ask(&self, line: &str, headers: &str) -> (u16, String) {
        self.ask_as(MemoryClient::default(), line, headers).await
    }

    async fn status(&self, headers: &str) -> u16 {
        self.ask("GET /", headers).await.0
    }

    /// The statuses of so many requests, one behind the other.
    async fn statuses(&self, number: usize) -> Vec<u16> {
        let mut statuses = Vec::new();
        for _ in 0..number {
            statuses.push(self.status("").await);
        }
        statuses
    }

    fn put(&mut self, limits: RateLimit) {
        self.put_resource(Resource::RateLimit(Arc::new(limits)));
    }

    fn put_resource(&mut self, resource: Resource) {
        self.proxy.apply(Delta { upserts: vec![resource], ..Delta::default() }).unwrap();
    }

    fn scrape(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.proxy.metrics()));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    /// Whether a scrape has this line.
    fn shows(&self, line: &str) -> bool {
        self.scrape().lines().any(|it| it.ends_with(line))
    }
}

async fn endpoint(mut stream: DuplexStream, name: String, reached: Rc<RefCell<Vec<String>>>, how: Endpoint) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            reached.borrow_mut().push(name.clone());
            let answer: &[u8] = match how {
                Endpoint::Answers => b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n",
                Endpoint::Fails => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
                Endpoint::Switches => {
                    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                }
            };
            let _ = stream.write_all(answer).await;
            head.clear();
        }
    }
}

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// So many requests a minute, all of them at once.
fn limit(requests: u32, key: Vec<LimitKeyPart>) -> Limit {
    let (per, requests) = (Duration::from_secs(60), count(requests));
    Limit { name: Some("all".into()), requests, per, burst: requests, key, matches: None }
}

fn by_header(name: &'static str) -> Vec<LimitKeyPart> {
    vec![LimitKeyPart::Header(HeaderName::from_static(name))]
}

fn limits(name: &str, limits: Vec<Limit>) -> RateLimit {
    RateLimit { name: name.into(), mode: Mode::Enforce, limits: Limits::Each(limits) }
}

async fn local<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

#[tokio::test(start_paused = true)]
async fn what_is_beyond_a_limit_is_answered_with_429_and_when_to_come_again() {
    local(async {
        let scene = Scene { at_rule: vec!["shop/p@r"], ..Scene::default() };
        let scene = scene.start([limits("shop/p@r", vec![limit(3, vec![])])]);
        assert_eq!(scene.statuses(3).await, [200; 3]);
        let (status, text) = scene.ask("GET /", "").await;
        assert_eq!(status, 429, "{text}");
        assert!(text.contains("\r\nretry-after: 20\r\n"), "{text}");
        assert!(text.contains("\r\nratelimit-policy: \"limit\";q=3;w=60\r\n"), "{text}");
        assert!(text.contains("\r\nratelimit: \"limit\";r=0;t=20\r\n"), "{text}");
        assert!(text.ends_with("too many requests.\n") && !text.contains("shop"), "{text}");
        assert_eq!(scene.reached.borrow().len(), 3, "no backend hears of it");
        advance(Duration::from_millis(19_500)).await;
        let (status, text) = scene.ask("GET /", "").await;
        assert!(status == 429 && text.contains("\r\nretry-after: 1\r\n"), "{text}");
        advance(Duration::from_millis(500)).await;
        assert_eq!(scene.statuses(2).await, [200, 429]);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(scene.statuses(4).await, [200, 200, 200, 429], "no more at once than the burst");
        let limited = |count| {
            format!(
                "rate_limit_decisions_total{{policy=\"shop/p\",limit=\"all\",decision=\"limited\"}} {count}"
            )
        };
        assert!(scene.shows(&limited(4)), "{}", scene.scrape());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn grpc_is_told_that_resources_are_exhausted() {
    local(async {
        let scene = Scene { at_listener: vec!["shop/p@g"], ..Scene::default() };
        let scene = scene.start([limits("shop/p@g", vec![limit(1, vec![])])]);
        let call = "content-type: application/grpc\r\nte: trailers\r\n";
        assert_eq!(scene.ask("POST /a.B/C", call).await.0, 200);
        let (status, text) = scene.ask("POST /a.B/C", call).await;
        assert_eq!(status, 200, "{text}");
        for line in ["grpc-status: 8", "grpc-message: too many requests.", "retry-after: 60"] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_limit_counts_and_none_widens_another() {
    local(async {
        let scene = Scene {
            at_listener: vec!["edge/p@g"],
            at_rule: vec!["shop/p@r"],
            at_backend: vec!["shop/p@s"],
            ..Scene::default()
        };
        for (of_listener, of_rule, of_backend, passes) in
            [(2, 9, 9, 2), (9, 2, 9, 2), (9, 9, 2, 2), (4, 3, 5, 3)]
        {
            let scene = Scene {
                at_listener: scene.at_listener.clone(),
                at_rule: scene.at_rule.clone(),
                at_backend: scene.at_backend.clone(),
                ..Scene::default()
            };
            let scene = scene.start([
                limits("edge/p@g", vec![limit(of_listener, vec![])]),
                limits("shop/p@r", vec![limit(of_rule, vec![])]),
                limits("shop/p@s", vec![limit(of_backend, vec![])]),
            ]);
            let passed = scene.statuses(8).await.iter().filter(|it| **it == 200).count();
            assert_eq!(passed, passes, "{of_listener} {of_rule} {of_backend}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_apart_by_address_identity_and_header() {
    local(async {
        let scene = |key| {
            let scene = Scene { at_rule: vec!["shop/p@r"], ..Scene::default() };
            scene.start([limits("shop/p@r", vec![limit(1, key)])])
        };
        let from =
            |address: &str| MemoryClient { address: address.parse().unwrap(), ..MemoryClient::default() };
        let running = scene(vec![LimitKeyPart::ClientAddress]);
        for (address, status) in [
            ("192.0.2.1", 200),
            ("192.0.2.1", 429),
            ("192.0.2.2", 200),
            ("::ffff:192.0.2.2", 429),
            ("2001:db8::1", 200),
            ("2001:db8::2", 429),
            ("2001:db8:0:1::1", 200),
        ] {
            assert_eq!(running.ask_as(from(address), "GET /", "").await.0, status, "{address}");
        }
        let running = scene(vec![LimitKeyPart::Identity]);
        let who = |name: &str| {
            let identity: Option<SpiffeId> = format!("spiffe://cluster.local/ns/shop/sa/{name}").parse().ok();
            MemoryClient { identity, ..MemoryClient::default() }
        };
        for (client, status) in [
            (who("web"), 200),
            (who("web"), 429),
            (who("api"), 200),
            (MemoryClient::default(), 200),
            (from("192.0.2.9"), 429),
        ] {
            assert_eq!(running.ask_as(client.clone(), "GET /", "").await.0, status, "{client:?}");
        }
        let running = scene(by_header("x-customer"));
        for (headers, status) in [
            ("x-customer: a\r\n", 200),
            ("X-Customer: a\r\n", 429),
            ("x-customer: A\r\n", 200),
            ("x-customer: b\r\n", 200),
            ("", 200),
            ("", 429),
            ("x-customer:\r\n", 200),
        ] {
            assert_eq!(running.status(headers).await, status, "{headers}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn only_what_matches_is_counted_in_any_spelling() {
    local(async {
        let path = Condition::PathIs(vec![PathMatch::Prefix("/login".into()).into()]);
        let post = Condition::MethodIs(vec![http::Method::POST]);
        let limit = Limit { matches: Some(vec![vec![path, post]]), ..limit(1, vec![]) };
        let scene = Scene { at_listener: vec!["shop/p@g"], ..Scene::default() };
        let scene = scene.start([limits("shop/p@g", vec![limit])]);
        for (line, status) in [
            ("GET /login", 200),
            ("POST /other", 200),
            ("POST /login", 200),
            ("GET /login", 200),
            ("POST /login", 429),
            ("POST //login", 429),
            ("POST /login;x", 429),
            ("POST /%6Cogin", 429),
            ("POST /%2Flogin", 429),
            ("POST /loginx", 200),
        ] {
            assert_eq!(scene.ask(line, "").await.0, status, "{line}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_only_observed_passes_and_is_counted() {
    local(async {
        let observed =
            |number| RateLimit { mode: Mode::Observe, ..limits("shop/p@r", vec![limit(number, vec![])]) };
        let mut scene = Scene { at_rule: vec!["shop/p@r"], ..Scene::default() }.start([observed(1)]);
        assert_eq!(scene.statuses(3).await, [200; 3]);
        let line = "rate_limit_decisions_total{policy=\"shop/p\",limit=\"all\",decision=\"would_limit\"} 2";
        assert!(scene.shows(line), "{}", scene.scrape());
        // What has been counted stays when the policy is enforced: its limit is the same.
        scene.put(limits("shop/p@r", vec![limit(1, vec![])]));
        assert_eq!(scene.statuses(1).await, [429]);
        scene.put(RateLimit { limits: Limits::Closed, ..observed(1) });
        assert_eq!(scene.statuses(1).await, [200], "an observed policy closes nothing");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_or_cannot_be_carried_out_closes() {
    local(async {
        let closed = |name: &str| RateLimit { limits: Limits::Closed, ..limits(name, vec![]) };
        for place in 0..3 {
            let name = "shop/p@closed";
            let at = |number| if number == place { vec![name] } else { vec![] };
            let scene =
                || Scene { at_listener: at(0), at_rule: at(1), at_backend: at(2), ..Scene::default() };
            for mut running in [scene().start([]), scene().start([closed(name)])] {
                let (status, text) = running.ask("GET /", "").await;
                assert_eq!(status, 500, "{place}: {text}");
                assert!(!text.contains("shop"), "{text}");
                let (_, text) = running.ask("POST /a.B/C", "content-type: application/grpc\r\n").await;
                assert!(text.contains("\r\ngrpc-status: 14\r\n"), "{text}");
                assert!(running.reached.borrow().is_empty());
                running.put(limits(name, vec![limit(1, vec![])]));
                assert_eq!(running.statuses(2).await, [200, 429]);
                let removals = vec![ResourceKey::new(ResourceKind::RateLimit, name)];
                running.proxy.apply(Delta { removals, ..Delta::default() }).unwrap();
                assert_eq!(running.statuses(1).await, [500]);
            }
        }
    })
    .await;
}
