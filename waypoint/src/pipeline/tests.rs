//! Requests through a proxy in memory, under paused time.

use crate::fixtures::{MatchExt, attachment, listener, prefix, route, rule};
use crate::stage::testing::WAITS;
use crate::testing::{self, MemoryClient, MemoryProxy, backend, endpoint, set};
use crate::wire::Version;
use fairway_config::model::{
    AppProtocol, BackendTarget, Filter, Fraction, Mirror, OriginPattern, PathModifier, Redirect, Resource,
    Retry, Route, Rule, Timeouts, Unresolved, UrlRewrite, WeightedBackend,
};
use fairway_telemetry::testing::Exposition;
use http::{HeaderValue, StatusCode};
use prometheus_client::registry::Registry;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, sleep};

/// A proxy in memory, and the heads of the requests that its endpoints got.
struct Fixture {
    proxy: MemoryProxy,
    seen: Rc<RefCell<Vec<String>>>,
}

/// How long endpoints take that are slow.
const SLOW: Duration = Duration::from_secs(30);

impl Fixture {
    /// One route with these rules. Endpoints of `backend` answer at once, those of `slow` late, those of `gone` cannot be
    /// reached, and those of `hangs-up` close their first connection at once.
    fn start(rules: Vec<Rule>) -> Self {
        let route = Route { attachments: vec![attachment("listener", &[])], rules, ..route("r") };
        let mut resources =
            vec![Resource::Listener(Arc::new(listener("listener", None))), Resource::Route(Arc::new(route))];
        for (host, key) in [(1, "backend"), (2, "slow"), (3, "gone"), (4, "copies"), (5, "hangs-up")] {
            resources.extend(backend(key, AppProtocol::Http1, &[endpoint(host)]));
        }
        let seen: Rc<RefCell<Vec<String>>> = Rc::default();
        let (heads, hung_up) = (seen.clone(), Cell::new(false));
        let proxy = MemoryProxy::start(resources, move |address, stream| {
            let pause = match address.ip().to_string().as_str() {
                "10.0.0.2" => SLOW,
                "10.0.0.3" => return Err(std::io::ErrorKind::ConnectionRefused.into()),
                "10.0.0.5" if !hung_up.replace(true) => return Ok(()),
                _ => Duration::ZERO,
            };
            spawn_local(serve(stream, pause, heads.clone()));
            Ok(())
        });
        Self { proxy: proxy.unwrap(), seen }
    }

    async fn ask(&self, line: &str, headers: &[(&str, &str)]) -> String {
        self.proxy.ask(line, headers).await.unwrap()
    }

    async fn send(&self, line: &str, headers: &[(&str, &str)]) -> DuplexStream {
        self.proxy.send(line, headers).await.unwrap()
    }

    /// Requests that a scrape shows with these labels.
    fn counted(&self, labels: &[(&str, &str)]) -> f64 {
        self.scraped("fairway_requests_total", labels)
    }

    fn scraped(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let (mut registry, mut text) = (Registry::with_prefix("fairway"), String::new());
        self.proxy.metrics().register(&mut registry);
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        Exposition::parse(&text).sum(metric, labels)
    }

    /// The header of this name that the endpoint got last.
    fn sent(&self, name: &str) -> Option<String> {
        let seen = self.seen.borrow();
        let head = seen.last()?;
        head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).map(str::to_owned)
    }
}

/// Waits for what other tasks bring about. The clock of the test stands still meanwhile, so the limit is one of turns.
async fn wait_for(awaited: &str, holds: impl Fn() -> bool) {
    let mut turns = 0;
    while !holds() {
        turns += 1;
        assert!(turns < 1_000_000, "not within {turns} turns: {awaited}");
        yield_now().await;
    }
}

/// Answers requests without a body.
async fn serve(mut stream: DuplexStream, pause: Duration, heads: Rc<RefCell<Vec<String>>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            heads.borrow_mut().push(String::from_utf8(std::mem::take(&mut head)).unwrap());
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let response = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-endpoint: 1\r\n\r\nok\n";
            if stream.write_all(response).await.is_err() {
                return;
            }
        }
    }
}

fn marked() -> Filter {
    Filter::ResponseHeaders(set("x-rule", "seen"))
}

fn cors() -> Filter {
    Filter::Cors(testing::cors(OriginPattern::Exact("https://app.ex".into())))
}

fn redirect() -> Filter {
    Filter::Redirect(testing::redirect("b.ex"))
}

fn rewrite() -> Filter {
    Filter::Rewrite(UrlRewrite {
        hostname: Some(HeaderValue::from_static("b.ex")),
        path: Some(PathModifier::ReplacePrefix("/v2".into())),
    })
}

fn mirror() -> Filter {
    Filter::Mirror(Mirror { target: BackendTarget::Backend("copies".into()), fraction: Fraction::ALL })
}

fn at(path: &str, filters: Vec<Filter>) -> Rule {
    Rule { filters, ..rule(vec![prefix(path)], "backend") }
}

fn authorize() -> Filter {
    Filter::Unresolved("test/authorize".into())
}

/// Runs a test on its own thread of tasks.
async fn local<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

#[tokio::test(start_paused = true)]
async fn each_stage_does_its_part_between_client_and_endpoint() {
    local(async {
        let fixture = Fixture::start(vec![
            at("/request", vec![Filter::RequestHeaders(set("x-added", "1"))]),
            at("/response", vec![marked()]),
            at("/redirect", vec![redirect()]),
            at("/rewrite", vec![rewrite()]),
            at("/cors", vec![cors()]),
            at("/mirror", vec![mirror()]),
            at("/unresolved", vec![Filter::Unresolved("example.net/Kind/x".into())]),
        ]);
        let origin = ("origin", "https://app.ex");
        // Request line, headers, how the response begins, what else it has.
        for (line, headers, status, expected) in [
            ("GET /request", vec![], "http/1.1 200", ""),
            ("GET /response", vec![], "http/1.1 200", "x-rule: seen\r\n"),
            ("GET /redirect", vec![], "http/1.1 302", "location: http://b.ex/redirect\r\n"),
            ("GET /rewrite/a", vec![], "http/1.1 200", ""),
            ("GET /cors", vec![origin], "http/1.1 200", "access-control-allow-origin: https://app.ex\r\n"),
            (
                "OPTIONS /cors",
                vec![origin, ("access-control-request-method", "GET")],
                "http/1.1 204",
                "access-control-allow-origin: https://app.ex\r\n",
            ),
            ("GET /mirror", vec![], "http/1.1 200", ""),
            ("GET /unresolved", vec![], "http/1.1 500", ""),
        ] {
            let text = fixture.ask(line, &headers).await;
            assert!(text.starts_with(status) && text.contains(expected), "{line}: {text}");
        }
        let heads = fixture.seen.borrow().clone();
        let has = |line: &str, header: &str| {
            heads.iter().filter(|head| head.starts_with(line) && head.contains(header)).count()
        };
        assert_eq!(has("GET /request ", "x-added: 1\r\n"), 1);
        assert_eq!(has("GET /v2/a ", "host: b.ex\r\n"), 1);
        assert_eq!(has("GET /mirror ", "host: a.ex\r\n"), 2, "the request and its copy");
        assert_eq!(has("OPTIONS ", "") + has("GET /redirect", "") + has("GET /unresolved", ""), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_match_on_the_host_looks_at_the_host_that_is_routed() {
    local(async {
        let of_public =
            Rule { filters: vec![marked()], ..rule(vec![prefix("/").header("host", "a.ex")], "backend") };
        let of_admin = rule(vec![prefix("/").header("host", "admin.ex")], "backend");
        let fixture = Fixture::start(vec![of_public, of_admin]);
        for (line, is_public) in [("GET /", true), ("GET http://admin.ex/", false), ("GET http://a.ex", true)]
        {
            let text = fixture.ask(line, &[]).await;
            assert!(text.starts_with("http/1.1 200"), "{line}: {text}");
            assert_eq!(text.contains("x-rule: seen"), is_public, "{line}: {text}");
            let host = if is_public { "a.ex" } else { "admin.ex" };
            assert_eq!(fixture.sent("host").as_deref(), Some(host), "{line}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn retries_have_an_end_whatever_a_route_asks_for() {
    let (zero, second, hour) = (Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3600));
    local(async {
        // Attempts, backoff, limit of the request; the status, retries from and to, seconds from and to.
        for (attempts, backoff, limit, status, retries, seconds) in [
            (0, zero, None, "503", 0.0..=0.0, 0.0..0.1),
            (2, zero, None, "503", 2.0..=2.0, 0.075..0.2),
            (10, zero, None, "503", 10.0..=10.0, 22.0..35.0),
            (u32::MAX, zero, None, "503", 10.0..=10.0, 22.0..35.0),
            (u32::MAX, second, None, "503", 3.0..=9.0, 30.0..60.1),
            (u32::MAX, hour, None, "503", 0.0..=0.0, 0.0..0.1),
            (u32::MAX, second, Some(5 * second), "504", 1.0..=2.0, 1.0..5.1),
            (1, 40 * second, Some(hour), "503", 1.0..=1.0, 40.0..60.1),
        ] {
            let retry = Retry { attempts, backoff: Some(backoff), codes: vec![], connection_errors: true };
            let timeouts = Timeouts { request: limit, backend_request: None };
            let asked = Rule { retry: Some(retry), timeouts, ..rule(vec![prefix("/")], "gone") };
            let fixture = Fixture::start(vec![asked]);
            let begun = Instant::now();
            let text = fixture.ask("GET /", &[]).await;
            let (elapsed, made) =
                (begun.elapsed().as_secs_f64(), fixture.scraped("fairway_retries_total", &[]));
            let row = format!("{attempts} {backoff:?} {limit:?}: {made} retries in {elapsed} s: {text}");
            assert!(text.starts_with(&format!("http/1.1 {status}")), "{row}");
            assert!(retries.contains(&made) && seconds.contains(&elapsed), "{row}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_of_which_nothing_was_sent_is_retried_whatever_its_method() {
    local(async {
        for (line, retry, status) in
            [("POST /", 1, "200"), ("PATCH /", 1, "200"), ("GET /", 1, "200"), ("POST /", 0, "503")]
        {
            let retry = Retry { attempts: retry, backoff: None, codes: vec![], connection_errors: true };
            let retried = Rule { retry: Some(retry), ..rule(vec![prefix("/")], "hangs-up") };
            let fixture = Fixture::start(vec![retried]);
            let text = fixture.ask(line, &[("content-length", "0")]).await;
            assert!(text.starts_with(&format!("http/1.1 {status}")), "{line}: {text}");
            assert_eq!(fixture.seen.borrow().len(), usize::from(status == "200"), "{line}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_redirect_of_the_whole_server_goes_to_a_path() {
    local(async {
        let to_full = |path: &str| {
            let Filter::Redirect(to) = redirect() else { unreachable!() };
            Filter::Redirect(Redirect { path: Some(PathModifier::ReplaceFull(path.into())), ..to })
        };
        for (filter, expected) in [(redirect(), "http://b.ex/"), (to_full("/new"), "http://b.ex/new")] {
            let fixture = Fixture::start(vec![at("/", vec![filter])]);
            let text = fixture.ask("OPTIONS *", &[]).await;
            assert!(text.contains(&format!("location: {expected}\r\n")), "{text}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn response_stages_run_on_every_response_whoever_makes_it() {
    let to = |backend: &str| {
        vec![WeightedBackend {
            weight: 1,
            target: BackendTarget::Backend(backend.into()),
            filters: vec![Filter::ResponseHeaders(set("x-backend", "seen"))],
        }]
    };
    let second = Duration::from_secs(1);
    let by = |path: &str, more: Vec<Filter>, backends| Rule {
        filters: [vec![marked(), cors()], more].concat(),
        backends,
        timeouts: Timeouts { request: Some(second), backend_request: None },
        ..rule(vec![prefix(path)], "backend")
    };
    let nowhere = vec![WeightedBackend {
        weight: 1,
        target: BackendTarget::Unresolved(Unresolved::NotFound),
        filters: vec![Filter::ResponseHeaders(set("x-backend", "seen"))],
    }];
    local(async {
        let fixture = Fixture::start(vec![
            by("/endpoint", vec![], to("backend")),
            by("/slow", vec![], to("slow")),
            by("/gone", vec![], to("gone")),
            by("/unknown", vec![], to("unknown")),
            by("/nowhere", vec![], nowhere),
            by("/none", vec![], vec![]),
            by("/redirect", vec![redirect()], vec![]),
            by("/unresolved", vec![Filter::Unresolved("x".into())], to("backend")),
            by("/denied", vec![authorize()], to("backend")),
            by("/waits", vec![authorize()], to("backend")),
        ]);
        for (path, status, is_of_backend) in [
            ("/endpoint", "200", true),
            ("/slow", "504", true),
            ("/gone", "503", true),
            ("/unknown", "500", true),
            ("/nowhere", "500", true),
            ("/none", "500", false),
            ("/redirect", "302", false),
            ("/unresolved", "500", false),
            ("/denied", "403", false),
            ("/waits", "504", false),
        ] {
            let mut headers = vec![("origin", "https://app.ex")];
            match path {
                "/denied" => headers.push(("x-verdict", "deny")),
                "/waits" => headers.push(("x-wait", "5000")),
                _ => {}
            }
            let text = fixture.ask(&format!("GET {path}"), &headers).await;
            assert!(text.starts_with(&format!("http/1.1 {status}")), "{path}: {text}");
            assert!(text.contains("x-rule: seen\r\n"), "{path}: {text}");
            assert!(text.contains("access-control-allow-origin: https://app.ex\r\n"), "{path}: {text}");
            assert_eq!(text.contains("x-backend: seen\r\n"), is_of_backend, "{path}: {text}");
        }
        // The request has been at this rule before.
        fixture.ask("GET /endpoint", &[]).await;
        let mark = fixture.sent("x-fairway-via").unwrap();
        let headers = [("x-fairway-via", mark.as_str()), ("origin", "https://app.ex")];
        let text = fixture.ask("GET /endpoint", &headers).await;
        assert!(text.starts_with("http/1.1 508"), "{text}");
        assert!(text.contains("x-rule: seen\r\n") && text.contains("access-control-allow-origin"), "{text}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_stage_waits_and_the_request_goes_on_as_it_has_changed_it() {
    local(async {
        let fixture = Fixture::start(vec![at("/x", vec![]), at("/a", vec![authorize()])]);
        let begun = Instant::now();
        let text = fixture.ask("GET /a", &[("x-wait", "1500")]).await;
        assert!(text.starts_with("http/1.1 200"), "{text}");
        assert_eq!(begun.elapsed().as_millis(), 1500);
        assert_eq!(fixture.sent("x-allowed").as_deref(), Some("1"), "the rule, of which the stage was told");
        assert_eq!(WAITS.get(), (0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_stage_responds_with_a_body() {
    local(async {
        let fixture = Fixture::start(vec![at("/", vec![authorize(), marked()])]);
        let text = fixture.ask("GET /", &[("x-wait", "10"), ("x-verdict", "deny")]).await;
        assert!(text.starts_with("http/1.1 403"), "{text}");
        assert!(text.contains("content-length: 18\r\n") && text.contains("x-rule: seen\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nask somebody else\n"), "{text}");
        assert!(fixture.seen.borrow().is_empty(), "no endpoint has heard of it");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_stage_is_cut_off_by_the_time_limit_of_its_rule() {
    local(async {
        let limit = Duration::from_secs(2);
        let limited = Rule {
            timeouts: Timeouts { request: Some(limit), backend_request: None },
            ..at("/", vec![authorize()])
        };
        let fixture = Fixture::start(vec![limited]);
        let begun = Instant::now();
        let text = fixture.ask("GET /", &[("x-wait", "60000")]).await;
        assert!(text.starts_with("http/1.1 504"), "{text}");
        assert_eq!(begun.elapsed(), limit);
        assert_eq!(WAITS.get(), (0, 1));
        // What it takes is part of what the whole request may take.
        let text = fixture.ask("GET /", &[("x-wait", "1999")]).await;
        assert!(text.starts_with("http/1.1 200"), "{text}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_stage_ends_with_its_client() {
    local(async {
        let fixture = Fixture::start(vec![at("/", vec![authorize()])]);
        let stream = fixture.send("GET /", &[("x-wait", "60000")]).await;
        wait_for("the stage waits", || WAITS.get().0 > 0).await;
        let left = Instant::now();
        drop(stream);
        wait_for("the stage waits no more", || WAITS.get().0 == 0).await;
        assert_eq!((WAITS.get(), left.elapsed()), ((0, 1), Duration::ZERO), "over HTTP/1");

        let client = MemoryClient { version: Some(Version::Http2), ..MemoryClient::default() };
        let (mut sender, connection) = h2::client::handshake(fixture.proxy.connect(client)).await.unwrap();
        spawn_local(connection);
        let request = http::Request::get("http://a.ex/").header("x-wait", "60000").body(()).unwrap();
        let (response, mut stream) = sender.send_request(request, true).unwrap();
        wait_for("the stage waits", || WAITS.get().0 > 0).await;
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        wait_for("the stage waits no more", || WAITS.get().0 == 0).await;
        assert_eq!((WAITS.get(), left.elapsed()), ((0, 2), Duration::ZERO), "over HTTP/2");
        assert!(fixture.seen.borrow().is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stage_can_close_the_connection_without_a_response() {
    local(async {
        let fixture = Fixture::start(vec![
            at("/now", vec![Filter::Unresolved("test/close".into())]),
            at("/", vec![authorize()]),
        ]);
        assert_eq!(fixture.ask("GET /now", &[]).await, "");
        assert_eq!(fixture.ask("GET /", &[("x-verdict", "close"), ("x-wait", "5")]).await, "");

        let client = MemoryClient { version: Some(Version::Http2), ..MemoryClient::default() };
        let (mut sender, connection) = h2::client::handshake(fixture.proxy.connect(client)).await.unwrap();
        spawn_local(connection);
        let ask = |path: &str| http::Request::get(format!("http://a.ex{path}")).body(()).unwrap();
        let (response, _) = sender.send_request(ask("/now"), true).unwrap();
        assert!(response.await.unwrap_err().is_reset(), "its stream ends");
        let (response, _) = sender.send_request(ask("/"), true).unwrap();
        assert_eq!(response.await.unwrap().status(), StatusCode::OK, "the others go on");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_backend_counts_as_its_rules_own() {
    local(async {
        let fixture = Fixture::start(vec![
            at("/redirect", vec![redirect()]),
            at("/unresolved", vec![Filter::Unresolved("x".into())]),
            Rule { backends: vec![], ..at("/none", vec![]) },
            at("/waits", vec![authorize()]),
            at("/served", vec![marked()]),
        ]);
        for path in ["/redirect", "/unresolved", "/none", "/served"] {
            fixture.ask(&format!("GET {path}"), &[]).await;
        }
        let stream = fixture.send("GET /waits", &[("x-wait", "60000")]).await;
        wait_for("the stage waits", || WAITS.get().0 > 0).await;
        drop(stream);
        wait_for("the stage waits no more", || WAITS.get().0 == 0).await;
        for (rule, class, backend) in
            [("0", "3xx", ""), ("1", "5xx", ""), ("2", "5xx", ""), ("3", "none", ""), ("4", "2xx", "backend")]
        {
            let labels =
                [("route", "HTTPRoute/shop/r"), ("rule", rule), ("class", class), ("backend", backend)];
            assert_eq!(fixture.counted(&labels), 1.0, "{labels:?}");
        }
        assert_eq!(fixture.counted(&[]), 5.0);
    })
    .await;
}
