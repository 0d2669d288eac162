//! Requests of listeners with filters, through a proxy in memory, under paused time.

use super::keep_host;
use crate::fixtures::{MatchExt, attachment, exact, listener, prefix, route, rule};
use crate::stage::testing::WAITS;
use crate::testing::{MemoryProxy, backend, endpoint, redirect, set};
use fairway_config::model::{
    AppProtocol, AuthProtocol, BackendTarget, ExternalAuth, Filter, Limit, LimitKeyPart, Limits, Listener,
    ListenerProtocol, PathModifier, RateLimit, Resource, Route, Rule, Unresolved, UrlRewrite,
};
use fairway_policy::{Action, Authorization, Condition, Mode, PathMatch, Rule as PolicyRule};
use http::header::HOST;
use http::{HeaderName, HeaderValue};
use std::cell::RefCell;
use std::io;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local, yield_now};

/// A proxy whose listener has filters. Of its rules one is for `/admin`, one for the method PUT, one for whom the authorization
/// service calls `me`, and one for `/open`; each has a backend of its name.
struct Fixture {
    proxy: MemoryProxy,
    /// The heads that endpoints got, each behind the name of its backend.
    seen: Rc<RefCell<Vec<String>>>,
}

const BACKENDS: [(u8, &str); 7] =
    [(1, "admin"), (2, "put"), (3, "me"), (4, "open"), (5, "auth"), (6, "gone"), (7, "other")];

impl Fixture {
    fn start(filters: Vec<Filter>) -> Self {
        Self::serving(Listener { filters, ..listener("listener", None) }, vec![])
    }

    fn serving(it: Listener, policies: Vec<Authorization>) -> Self {
        Self::serving_with(it, policies.into_iter().map(|it| Resource::Authorization(Arc::new(it))).collect())
    }

    fn serving_with(it: Listener, more: Vec<Resource>) -> Self {
        let to_root = Filter::Rewrite(UrlRewrite {
            hostname: None,
            path: Some(PathModifier::ReplacePrefix("/".into())),
        });
        let rules = vec![
            Rule { filters: vec![to_root], ..rule(vec![prefix("/admin")], "admin") },
            rule(vec![exact("/").method("PUT")], "put"),
            rule(vec![prefix("/who").header("x-user", "me")], "me"),
            rule(vec![prefix("/open")], "open"),
        ];
        let other = Listener { key: "other".into(), filters: vec![], ..listener("other", Some("other.ex")) };
        let at_other = Route {
            key: "HTTPRoute/shop/o".into(),
            attachments: vec![attachment("other", &[])],
            rules: vec![rule(vec![prefix("/")], "other")],
            ..route("o")
        };
        let at_listener = Route { attachments: vec![attachment("listener", &[])], rules, ..route("r") };
        let mut resources = vec![
            Resource::Listener(Arc::new(it)),
            Resource::Listener(Arc::new(other)),
            Resource::Route(Arc::new(at_listener)),
            Resource::Route(Arc::new(at_other)),
        ];
        resources.extend(more);
        for (host, key) in BACKENDS {
            resources.extend(backend(key, AppProtocol::Http1, &[endpoint(host)]));
        }
        let seen: Rc<RefCell<Vec<String>>> = Rc::default();
        let heads = seen.clone();
        let proxy = MemoryProxy::start(resources, move |address, stream| {
            let name = BACKENDS.iter().find(|(host, _)| endpoint(*host) == address).unwrap().1;
            if name == "gone" {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            spawn_local(serve(stream, name, heads.clone()));
            Ok(())
        });
        Self { proxy: proxy.unwrap(), seen }
    }

    async fn ask(&self, line: &str, headers: &[(&str, &str)]) -> String {
        self.proxy.ask(line, headers).await.unwrap()
    }

    /// The heads since the last call.
    fn take(&self) -> String {
        self.seen.take().concat()
    }
}

/// Answers requests without a body. The authorization service allows `/allow…` as `me`, and refuses everything else.
async fn serve(mut stream: DuplexStream, name: &'static str, heads: Rc<RefCell<Vec<String>>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
            let answer = match (name, text.contains("/denied")) {
                ("auth", true) => "401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\n\r\n",
                ("auth", false) => "200 OK\r\nx-user: me\r\nhost: admin.ex\r\ncontent-length: 0\r\n\r\n",
                _ => "200 OK\r\ncontent-length: 0\r\n\r\n",
            };
            heads.borrow_mut().push(format!("{name}: {text}"));
            if stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn by_http(service: BackendTarget) -> Filter {
    let protocol = AuthProtocol::Http {
        path_prefix: None,
        request_headers: vec![],
        response_headers: vec![HeaderName::from_static("x-user")],
    };
    Filter::ExternalAuth(ExternalAuth { target: service, protocol })
}

fn asks(service: &str) -> Filter {
    by_http(BackendTarget::Backend(service.into()))
}

fn test(name: &str) -> Filter {
    Filter::Unresolved(format!("test/{name}").into())
}

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async { test().await });
}

#[test]
fn filters_run_in_the_order_written_whatever_they_do() {
    run(|| async {
        for (filters, order) in [
            (["mark/a", "early-mark/b", "mark/c"], "abc"),
            (["early-mark/b", "mark/a", "early-mark/c"], "bac"),
            (["mark/a", "authorize", "mark/b"], "ab"),
        ] {
            let fixture = Fixture::start(filters.iter().map(|it| test(it)).collect());
            assert!(fixture.ask("GET /open", &[]).await.starts_with("http/1.1 200"));
            let head = fixture.take();
            assert!(head.contains(&format!("x-order: {order}\r\n")), "{filters:?}: {head}");
            assert_eq!(
                head.contains("x-allowed: none\r\n"),
                filters.contains(&"authorize"),
                "no rule is known"
            );
        }
    });
}

#[test]
fn a_route_is_matched_by_what_the_filters_have_made_of_the_request() {
    run(|| async {
        let fixture = Fixture::start(vec![test("change")]);
        for (line, headers, status, reached) in [
            ("GET /open", vec![], 200, "open: GET /open "),
            ("GET /open", vec![("x-target", "/admin/x?a=b")], 200, "admin: GET /x?a=b "),
            ("GET /admin", vec![("x-target", "/open")], 200, "open: GET /open "),
            ("GET /", vec![("x-method", "PUT")], 200, "put: PUT / "),
            ("PUT /", vec![("x-method", "GET")], 404, ""),
            // What no server could read is no fault of the client.
            ("GET /open", vec![("x-target", "/admin/../open")], 500, ""),
        ] {
            let answer = fixture.ask(line, &headers).await;
            assert!(answer.starts_with(&format!("http/1.1 {status}")), "{line} {headers:?}: {answer}");
            let head = fixture.take();
            assert!(head.starts_with(reached) && head.is_empty() == reached.is_empty(), "{line}: {head}");
        }
    });
}

/// Of a listener: those by address before its filters, all others behind them.
#[test]
fn what_a_listener_counts_by_address_is_counted_once_and_before_its_filters_ask_anybody() {
    let three = NonZeroU32::new(3).unwrap();
    for (key, asked) in [(vec![LimitKeyPart::ClientAddress], 3), (vec![], 5)] {
        run(|| async {
            let limit = Limit {
                name: None,
                requests: three,
                per: Duration::from_secs(3600),
                burst: three,
                key,
                matches: None,
            };
            let limits =
                RateLimit { name: "few".into(), mode: Mode::Enforce, limits: Limits::Each(vec![limit]) };
            let it = Listener {
                filters: vec![asks("auth")],
                limits: vec!["few".into()],
                ..listener("listener", None)
            };
            let fixture = Fixture::serving_with(it, vec![Resource::RateLimit(Arc::new(limits))]);
            let mut statuses = Vec::new();
            // With and without a route.
            for line in ["GET /open", "GET /nowhere", "GET /open", "GET /open", "GET /nowhere"] {
                let answer = fixture.ask(line, &[]).await;
                statuses.push(answer.split(' ').nth(1).unwrap_or_default().to_owned());
            }
            assert_eq!(statuses, ["200", "404", "200", "429", "429"]);
            assert_eq!(fixture.take().matches("auth: ").count(), asked);
        });
    }
}

#[test]
fn no_filter_changes_the_host_nor_the_listener() {
    run(|| async {
        let fixture = Fixture::start(vec![test("change")]);
        for headers in [
            vec![("x-host", "other.ex")],
            vec![("x-target", "http://other.ex/open")],
            vec![("x-host", "other.ex"), ("x-target", "https://other.ex/open")],
        ] {
            let answer = fixture.ask("GET /open", &headers).await;
            assert!(answer.starts_with("http/1.1 200"), "{headers:?}: {answer}");
            let head = fixture.take();
            assert!(
                head.starts_with("open: GET /open ") && head.contains("host: a.ex\r\n"),
                "{headers:?}: {head}"
            );
        }
    });
}

#[test]
fn a_route_is_matched_by_what_the_service_says_and_not_by_what_the_client_says_in_its_place() {
    run(|| async {
        let fixture = Fixture::start(vec![asks("auth")]);
        assert!(fixture.ask("GET /who", &[("x-user", "root")]).await.starts_with("http/1.1 200"));
        let heads = fixture.take();
        assert!(heads.starts_with("auth: GET /who ") && heads.contains("me: GET /who "), "{heads}");
        assert!(heads.contains("x-user: me\r\n") && !heads.contains("root"), "{heads}");
        let without = Fixture::start(vec![]);
        assert!(without.ask("GET /who", &[]).await.starts_with("http/1.1 404"));
    });
}

#[test]
fn a_filter_that_answers_is_the_last_one() {
    run(|| async {
        let fixture = Fixture::start(vec![asks("auth"), asks("other")]);
        // No rule takes the second one, and nobody is told.
        for path in ["/open/denied", "/denied"] {
            let answer = fixture.ask(&format!("GET {path}"), &[]).await;
            assert!(
                answer.starts_with("http/1.1 401") && answer.contains("www-authenticate: bearer"),
                "{answer}"
            );
            let heads = fixture.take();
            assert!(
                heads.starts_with("auth: ") && !heads.contains("other: ") && !heads.contains("open: "),
                "{heads}"
            );
        }
        assert!(fixture.ask("GET /open", &[]).await.starts_with("http/1.1 200"));
        let heads = fixture.take();
        let order: Vec<_> = heads.lines().filter_map(|it| it.split_once(": GET ")).map(|it| it.0).collect();
        assert_eq!(order, ["auth", "other", "open"], "{heads}");
        assert!(
            fixture.ask("GET /nothing", &[]).await.starts_with("http/1.1 404"),
            "it passes, and no rule takes it"
        );
        let closes = Fixture::start(vec![test("close"), asks("auth")]);
        assert_eq!(closes.ask("GET /open", &[]).await, "");
        assert_eq!(closes.take(), "");
    });
}

#[test]
fn what_cannot_be_carried_out_refuses_every_request() {
    run(|| async {
        let unresolved = || by_http(BackendTarget::Unresolved(Unresolved::NotFound));
        let handshake = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ];
        let grpc = [("content-type", "application/grpc"), ("content-length", "0")];
        for (filters, status, grpc_status) in [
            (vec![asks("gone")], 403, 7),
            (vec![asks("unknown")], 403, 7),
            (vec![unresolved()], 500, 14),
            (vec![asks("auth"), Filter::Unresolved("x".into())], 500, 14),
            (vec![asks("auth"), Filter::Unknown(vec![0xF2, 1, 1, 0x41].into())], 500, 14),
        ] {
            let fixture = Fixture::start(filters.clone());
            for (line, headers) in [("GET /open", &[][..]), ("GET /nothing", &[]), ("GET /open", &handshake)]
            {
                let answer = fixture.ask(line, headers).await;
                assert!(answer.starts_with(&format!("http/1.1 {status}")), "{filters:?} {line}: {answer}");
            }
            let answer = fixture.ask("POST /open", &grpc).await;
            let expected = format!("grpc-status: {grpc_status}\r\n");
            assert!(
                answer.starts_with("http/1.1 200") && answer.contains(&expected),
                "{filters:?}: {answer}"
            );
            let heads = fixture.take();
            assert!(!heads.contains("open: "), "{filters:?}: {heads}");
        }
    });
}

#[test]
fn policies_of_the_listener_judge_what_came_and_what_the_filters_have_made_of_it() {
    run(|| async {
        let path = Condition::PathIs(vec![PathMatch::Prefix("/admin".into()).into()]);
        let no_admin = Authorization::new("no-admin", Action::Deny, vec![PolicyRule::when(vec![path])]);
        let it = Listener {
            filters: vec![test("change"), asks("auth")],
            authorizations: vec!["no-admin".into()],
            ..listener("listener", None)
        };
        let fixture = Fixture::serving(it, vec![no_admin]);
        for (line, headers, status, asked) in [
            ("GET /admin", vec![("x-target", "/open")], 403, false),
            ("GET /open", vec![("x-target", "/admin")], 403, true),
            ("GET /open", vec![], 200, true),
        ] {
            let answer = fixture.ask(line, &headers).await;
            assert!(answer.starts_with(&format!("http/1.1 {status}")), "{line} {headers:?}: {answer}");
            assert_eq!(fixture.take().contains("auth: "), asked, "{line} {headers:?}");
        }
    });
}

#[test]
fn a_service_behind_the_listener_that_asks_it_ends_in_the_first_round() {
    run(|| async {
        let fixture = Fixture::start(vec![asks("auth")]);
        fixture.ask("GET /open", &[("x-fairway-via", "0123456789abcdef")]).await;
        let heads = fixture.take();
        let marks = |of: &str| {
            let head = heads.split(of).nth(1).unwrap();
            head.lines().find_map(|it| it.strip_prefix("x-fairway-via: ")).unwrap().to_owned()
        };
        let (asked, sent_on) = (marks("auth: "), marks("open: "));
        assert!(
            asked.starts_with("0123456789abcdef,") && sent_on.starts_with("0123456789abcdef,"),
            "{heads}"
        );
        assert_ne!(asked, sent_on, "what a rule sends on may come back by the listener");
        assert!(fixture.ask("GET /open", &[("x-fairway-via", &sent_on)]).await.starts_with("http/1.1 508"));
        fixture.take();
        // The question comes to the same listener.
        assert!(fixture.ask("GET /nothing", &[("x-fairway-via", &asked)]).await.starts_with("http/1.1 403"));
        assert_eq!(fixture.take(), "");
    });
}

#[test]
fn filters_are_of_their_listener_alone() {
    run(|| async {
        let it = Listener { filters: vec![asks("gone")], ..listener("listener", Some("a.ex")) };
        let fixture = Fixture::serving(it, vec![]);
        assert!(fixture.ask("GET /open", &[]).await.starts_with("http/1.1 403"));
        let mut stream = fixture.proxy.connect(crate::testing::MemoryClient::default());
        stream.write_all(b"GET / HTTP/1.1\r\nhost: other.ex\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(fixture.take().starts_with("other: GET / "));
    });
}

#[test]
fn a_filter_waits_no_longer_than_the_client() {
    run(|| async {
        let fixture = Fixture::start(vec![test("authorize")]);
        let client = fixture.proxy.send("GET /open", &[("x-wait", "60000")]).await.unwrap();
        let until = async |holds: fn((u32, u32)) -> bool| {
            let mut turns = 0;
            while !holds(WAITS.get()) {
                turns += 1;
                assert!(turns < 1_000_000, "not within {turns} turns: {:?}", WAITS.get());
                yield_now().await;
            }
        };
        WAITS.set((0, 0));
        until(|(waiting, _)| waiting == 1).await;
        drop(client);
        until(|(waiting, dropped)| (waiting, dropped) == (0, 1)).await;
        assert_eq!(fixture.take(), "");
    });
}

#[test]
fn a_proxy_refuses_filters_that_cannot_stand_at_a_listener() {
    let with = |filters: Vec<Filter>, protocol| {
        let it = Listener { filters, protocol, ..listener("listener", None) };
        let started = MemoryProxy::start(vec![Resource::Listener(Arc::new(it))], |_, _| Ok(()));
        started.map(drop).map_err(|rejected| rejected[0].to_string())
    };
    run(|| async {
        for filter in [Filter::Redirect(redirect("b.ex")), Filter::ResponseHeaders(set("x-a", "b"))] {
            let refused = with(vec![filter.clone()], ListenerProtocol::Http).unwrap_err();
            assert!(
                refused.contains("listener") && refused.contains("cannot stand"),
                "{filter:?}: {refused}"
            );
        }
        let refused = with(vec![asks("auth")], ListenerProtocol::Tcp).unwrap_err();
        assert!(refused.contains("only for HTTP and HTTPS"), "{refused}");
        with(vec![asks("auth")], ListenerProtocol::Http).unwrap();
    });
}

#[test]
fn whatever_a_filter_makes_of_the_host_the_one_that_came_stays() {
    for (came, target, made, left) in [
        (Some("a.ex"), "/x?y", Some("b.ex"), "/x?y"),
        (Some("a.ex"), "/x", None, "/x"),
        (None, "/x", Some("b.ex"), "/x"),
        (None, "/x", None, "/x"),
        (Some("a.ex"), "http://b.ex/x?y", Some("a.ex"), "/x?y"),
        (None, "http://b.ex/x", None, "/x"),
        // A target that is an authority and nothing else.
        (Some("a.ex"), "b.ex:443", Some("a.ex"), "/"),
        (Some("a.ex"), "*", Some("b.ex"), "*"),
    ] {
        let (mut parts, ()) = http::Request::builder().uri(target).body(()).unwrap().into_parts();
        parts.headers.extend(made.map(|it| (HOST, HeaderValue::from_static(it))));
        keep_host(&mut parts, came.map(HeaderValue::from_static));
        assert_eq!(parts.headers.get_all(HOST).iter().collect::<Vec<_>>(), Vec::from_iter(came), "{target}");
        assert_eq!(parts.uri.to_string(), left, "{target}");
    }
}
