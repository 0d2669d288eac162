//! Requests of a rule with external authorization, through a proxy in memory, under paused time.

use crate::fixtures::{attachment, listener, prefix, route, rule};
use crate::testing::{MemoryProxy, backend, cors, endpoint};
use bytes::Bytes;
use fairway_config::model::{
    AddressSource, AppProtocol, AuthProtocol, BackendTarget, ExternalAuth, Filter, Listener, OriginPattern,
    PathModifier, Resource, Route, Rule, Timeouts, Unresolved, UrlRewrite,
};
use http::{HeaderMap, HeaderValue, Response};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, sleep};

/// A proxy whose one rule asks an authorization service, which does what the path of the request says.
struct Fixture {
    proxy: MemoryProxy,
    /// The heads that the backend got.
    passed: Rc<RefCell<Vec<String>>>,
    /// The heads that the service got.
    asked: Rc<RefCell<Vec<String>>>,
    /// Connections of the service that are open.
    open: Rc<Cell<u32>>,
}

impl Fixture {
    fn start(rule: Rule) -> Self {
        Self::believing(AddressSource::Connection, rule)
    }

    fn believing(address_source: AddressSource, rule: Rule) -> Self {
        let listener = Listener { address_source, ..listener("listener", None) };
        let route = Route { attachments: vec![attachment("listener", &[])], rules: vec![rule], ..route("r") };
        let mut resources = vec![Resource::Listener(Arc::new(listener)), Resource::Route(Arc::new(route))];
        use AppProtocol::{Http1, Unspecified};
        for (host, key, protocol) in
            [(1, "backend", Http1), (2, "auth", Http1), (3, "grpc", Unspecified), (4, "gone", Http1)]
        {
            resources.extend(backend(key, protocol, &[endpoint(host)]));
        }
        let (passed, asked): (Rc<RefCell<Vec<_>>>, Rc<RefCell<Vec<_>>>) = Default::default();
        let open: Rc<Cell<u32>> = Rc::default();
        let (heads, questions, count) = (passed.clone(), asked.clone(), open.clone());
        let proxy = MemoryProxy::start(resources, move |address, stream| {
            match address.ip().to_string().as_str() {
                "10.0.0.1" => drop(spawn_local(backend_endpoint(stream, heads.clone()))),
                "10.0.0.2" => drop(spawn_local(http_service(stream, questions.clone(), count.clone()))),
                "10.0.0.3" => drop(spawn_local(grpc_service(stream, questions.clone()))),
                _ => return Err(io::ErrorKind::ConnectionRefused.into()),
            }
            Ok(())
        });
        Self { proxy: proxy.unwrap(), passed, asked, open }
    }

    async fn ask(&self, line: &str, headers: &[(&str, &str)]) -> String {
        self.proxy.ask(line, headers).await.unwrap()
    }
}

fn by_http(service: &str) -> Filter {
    Filter::ExternalAuth(ExternalAuth {
        target: BackendTarget::Backend(service.into()),
        protocol: AuthProtocol::Http {
            path_prefix: Some("/check".into()),
            request_headers: vec![],
            response_headers: vec!["x-user".parse().unwrap()],
        },
    })
}

fn by_grpc(service: &str) -> Filter {
    let protocol = AuthProtocol::Grpc { request_headers: vec![] };
    Filter::ExternalAuth(ExternalAuth { target: BackendTarget::Backend(service.into()), protocol })
}

fn guarded(filters: Vec<Filter>) -> Rule {
    Rule { filters, ..rule(vec![prefix("/")], "backend") }
}

/// Reads heads of requests without a body, and answers each with what `answer` makes of it.
async fn serve_heads(mut stream: DuplexStream, mut answer: impl AsyncFnMut(String) -> Option<String>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
            let Some(response) = answer(text).await else { return };
            if stream.write_all(response.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

async fn backend_endpoint(stream: DuplexStream, heads: Rc<RefCell<Vec<String>>>) {
    serve_heads(stream, async |head| {
        heads.borrow_mut().push(head);
        Some("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n".to_owned())
    })
    .await;
}

async fn http_service(stream: DuplexStream, heads: Rc<RefCell<Vec<String>>>, open: Rc<Cell<u32>>) {
    open.set(open.get() + 1);
    serve_heads(stream, async |head| {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        heads.borrow_mut().push(head);
        let text = match path.as_str() {
            "/check/allow" => "200 OK\r\nx-user: me\r\nx-internal: 1\r\ncontent-length: 0\r\n\r\n",
            "/check/deny" => {
                "401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-length: 6\r\n\r\nlog in"
            }
            "/check/login" => {
                "302 Found\r\nlocation: https://id.ex/\r\nset-cookie: s=1\r\ncontent-length: 0\r\n\r\n"
            }
            "/check/nominated" => {
                "403 Forbidden\r\nconnection: x-hop, close\r\nx-hop: 1\r\nkeep-alive: 5\r\nx-kept: 1\r\ncontent-length: 0\r\n\r\n"
            }
            "/check/broken" => "200 OK\r\ncontent-length: 9\r\n\r\nshort",
            "/check/garbage" => return Some("what?\r\n\r\n".to_owned()),
            "/check/close" => return None,
            "/check/large" => {
                return Some(format!(
                    "HTTP/1.1 403 Forbidden\r\ncontent-length: 70000\r\n\r\n{}",
                    "x".repeat(70_000)
                ));
            }
            // No answer; the end of the connection is seen.
            _ => return Some(String::new()),
        };
        Some(format!("HTTP/1.1 {text}"))
    })
    .await;
    open.set(open.get() - 1);
}

/// Allows, unless the request that it is asked about has `/deny` in its path.
async fn grpc_service(stream: DuplexStream, heads: Rc<RefCell<Vec<String>>>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        heads.borrow_mut().push(format!("{} {}", request.method(), request.uri()));
        let heads = heads.clone();
        spawn_local(async move {
            let mut body = request.into_body();
            let mut message = Vec::new();
            while let Some(Ok(chunk)) = body.data().await {
                let _ = body.flow_control().release_capacity(chunk.len());
                message.extend(chunk);
            }
            let text = String::from_utf8_lossy(&message).into_owned();
            let has = |what: &str| text.contains(what);
            // `CheckResponse { status: { code }, ok_response: { query_parameters_to_remove: ["token"] } }`
            let answer: &[u8] = match () {
                () if has("/deny") => &[0, 0, 0, 0, 4, 0x0a, 2, 0x08, 7],
                () if has("/query") => {
                    &[0, 0, 0, 0, 11, 0x0a, 0, 0x1a, 7, 0x42, 5, b't', b'o', b'k', b'e', b'n']
                }
                () if has("/empty") => &[0, 0, 0, 0, 0],
                () => &[0, 0, 0, 0, 2, 0x0a, 0],
            };
            let fails = has("/fails");
            heads.borrow_mut().push(text);
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::copy_from_slice(answer), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(if fails { "13" } else { "0" }));
            stream.send_trailers(trailers).unwrap();
        });
    }
}

#[test]
fn an_authorization_service_is_told_where_the_client_is_and_not_the_load_balancer() {
    run(|| async {
        let trusted = std::iter::once("192.0.2.1".parse().unwrap()).collect();
        let fixture =
            Fixture::believing(AddressSource::ForwardedFor(trusted), guarded(vec![by_grpc("grpc")]));
        let answer = fixture.ask("GET /a", &[("x-forwarded-for", "198.51.100.66, 203.0.113.7")]).await;
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        let asked = fixture.asked.borrow().join("\n");
        assert!(asked.contains("203.0.113.7"), "{asked}");
        assert!(!asked.contains("198.51.100.66") && !asked.contains("192.0.2.1"), "{asked}");
    });
}

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async { test().await });
}

#[test]
fn what_the_service_allows_passes_with_what_it_says_of_the_user() {
    run(|| async {
        let fixture = Fixture::start(guarded(vec![by_http("auth")]));
        let answer = fixture.ask("GET /allow", &[("x-user", "admin"), ("x-secret", "1")]).await;
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        let passed = fixture.passed.borrow().concat();
        assert!(passed.contains("x-user: me\r\n") && !passed.contains("admin"), "{passed}");
        assert!(!passed.contains("x-internal"), "only what is listed: {passed}");
        let asked = fixture.asked.borrow().concat();
        assert!(
            asked.starts_with("GET /check/allow HTTP/1.1\r\n") && asked.contains("host: a.ex\r\n"),
            "{asked}"
        );
        assert!(!asked.contains("x-secret") && !asked.contains("x-user"), "{asked}");
    });
}

#[test]
fn the_service_is_asked_about_the_host_that_is_routed() {
    run(|| async {
        // A target with an authority, behind which another Host comes.
        for host in ["admin.ex", "admin.ex:8081"] {
            let fixture = Fixture::start(guarded(vec![by_http("auth"), by_grpc("grpc")]));
            // The proxy in memory says a.ex in the Host.
            let answer = fixture.ask(&format!("GET http://{host}/allow"), &[]).await;
            assert!(answer.starts_with("http/1.1 200"), "{answer}");
            let asked = fixture.asked.borrow().join("\n");
            assert!(!asked.contains("a.ex\r\n"), "{asked}");
            assert!(asked.contains(&format!("host: {host}\r\n")), "{asked}");
            let length = char::from(u8::try_from(host.len()).unwrap());
            assert!(asked.contains(&format!(":authority\u{12}{length}{host}")), "{asked:?}");
            let passed = fixture.passed.borrow().concat();
            assert!(
                passed.starts_with("GET /allow ") && passed.contains(&format!("host: {host}\r\n")),
                "{passed}"
            );
        }
    });
}

#[test]
fn what_the_service_denies_is_answered_by_it_and_no_backend_hears_of_it() {
    run(|| async {
        let fixture = Fixture::start(guarded(vec![by_http("auth")]));
        let answer = fixture.ask("GET /deny", &[]).await;
        assert!(
            answer.starts_with("http/1.1 401") && answer.contains("www-authenticate: bearer"),
            "{answer}"
        );
        assert!(answer.ends_with("log in"), "{answer}");
        let answer = fixture.ask("GET /login", &[]).await;
        assert!(
            answer.starts_with("http/1.1 302") && answer.contains("location: https://id.ex/"),
            "{answer}"
        );
        assert!(answer.contains("set-cookie: s=1"), "{answer}");
        assert!(fixture.passed.borrow().is_empty());
    });
}

#[test]
fn without_a_decision_the_request_is_refused() {
    run(|| async {
        for path in ["/garbage", "/close", "/large", "/broken", "/slow"] {
            let fixture = Fixture::start(guarded(vec![by_http("auth")]));
            let began = Instant::now();
            let answer = fixture.ask(&format!("GET {path}"), &[]).await;
            assert!(answer.starts_with("http/1.1 403"), "{path}: {answer}");
            assert!(began.elapsed() <= Duration::from_secs(11), "{path}: {:?}", began.elapsed());
            assert!(fixture.passed.borrow().is_empty(), "{path}");
        }
        for (filter, status) in [
            (by_http("gone"), "403"),
            (by_http("unknown"), "403"),
            (by_grpc("gone"), "403"),
            // A service of HTTP/1.1 alone does not speak gRPC.
            (by_grpc("auth"), "403"),
        ] {
            let fixture = Fixture::start(guarded(vec![filter.clone()]));
            let answer = fixture.ask("GET /allow", &[]).await;
            assert!(answer.starts_with(&format!("http/1.1 {status}")), "{filter:?}: {answer}");
            assert!(fixture.passed.borrow().is_empty());
        }
        let target = BackendTarget::Unresolved(Unresolved::NotFound);
        let protocol = AuthProtocol::Grpc { request_headers: vec![] };
        let fixture = Fixture::start(guarded(vec![Filter::ExternalAuth(ExternalAuth { target, protocol })]));
        assert!(fixture.ask("GET /allow", &[]).await.starts_with("http/1.1 500"));
    });
}

#[test]
fn a_grpc_service_decides_by_its_message() {
    run(|| async {
        let fixture = Fixture::start(guarded(vec![by_grpc("grpc")]));
        let answer = fixture.ask("GET /allow?a=b", &[("x-tenant", "one")]).await;
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        let asked = fixture.asked.borrow().join("\n");
        assert!(
            asked.starts_with("POST") && asked.contains("/envoy.service.auth.v3.Authorization/Check"),
            "{asked}"
        );
        for part in ["/allow?a=b", "a.ex", "192.0.2.1", "x-tenant", "one"] {
            assert!(asked.contains(part), "{part}: {asked}");
        }
        for path in ["/deny", "/empty", "/fails"] {
            assert!(fixture.ask(&format!("GET {path}"), &[]).await.starts_with("http/1.1 403"), "{path}");
        }
        assert_eq!(fixture.passed.borrow().len(), 1);
        // A client of gRPC reads the refusal as one.
        let answer = fixture
            .ask("POST /fails", &[("content-type", "application/grpc"), ("content-length", "0")])
            .await;
        assert!(answer.starts_with("http/1.1 200") && answer.contains("grpc-status: 7"), "{answer}");
    });
}

#[test]
fn a_rule_asks_no_longer_than_it_may_take_and_no_longer_than_the_client_waits() {
    run(|| async {
        let limit = Some(Duration::from_secs(2));
        let timeouts = Timeouts { request: limit, ..Timeouts::default() };
        let fixture = Fixture::start(Rule { timeouts, ..guarded(vec![by_http("auth")]) });
        assert!(fixture.ask("GET /slow", &[]).await.starts_with("http/1.1 504"));
        let client = fixture.proxy.send("GET /slow", &[]).await.unwrap();
        let mut turns = 0;
        while fixture.asked.borrow().len() < 2 {
            turns += 1;
            assert!(turns < 1_000_000, "not within {turns} turns: the service is asked again");
            yield_now().await;
        }
        drop(client);
        let began = Instant::now();
        // The question ends with its connection, long before its limit.
        while fixture.open.get() > 0 && began.elapsed() < Duration::from_secs(1) {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(fixture.open.get(), 0, "the client is gone, and its question is still asked");
    });
}

#[test]
fn preflights_are_not_asked_about_and_refusals_can_be_read_by_scripts() {
    run(|| async {
        let cors = Filter::Cors(cors(OriginPattern::Exact("https://app.ex".into())));
        // Written behind the service, and yet before it.
        let fixture = Fixture::start(guarded(vec![by_http("auth"), cors]));
        let origin = ("origin", "https://app.ex");
        let preflight =
            fixture.ask("OPTIONS /deny", &[origin, ("access-control-request-method", "GET")]).await;
        assert!(preflight.starts_with("http/1.1 204"), "{preflight}");
        assert!(fixture.asked.borrow().is_empty());
        let refused = fixture.ask("GET /deny", &[origin]).await;
        assert!(refused.starts_with("http/1.1 401"), "{refused}");
        assert!(refused.contains("access-control-allow-origin: https://app.ex"), "{refused}");
    });
}

#[test]
fn a_service_behind_the_rule_that_asks_it_ends_in_the_first_round() {
    run(|| async {
        let fixture = Fixture::start(guarded(vec![by_http("auth")]));
        fixture.ask("GET /allow", &[]).await;
        let question = fixture.asked.borrow().concat();
        let marks =
            question.lines().find_map(|line| line.strip_prefix("x-fairway-via: ")).unwrap().to_owned();
        // The question comes to the same rule.
        let answer = fixture.ask("GET /allow", &[("x-fairway-via", &marks)]).await;
        assert!(answer.starts_with("http/1.1 403"), "{answer}");
        assert_eq!(fixture.asked.borrow().len(), 1);
    });
}

#[test]
fn two_services_must_both_allow() {
    run(|| async {
        let fixture = Fixture::start(guarded(vec![by_http("auth"), by_grpc("grpc")]));
        assert!(fixture.ask("GET /allow", &[]).await.starts_with("http/1.1 200"));
        let fixture = Fixture::start(guarded(vec![by_grpc("grpc"), by_http("auth")]));
        assert!(fixture.ask("GET /deny", &[]).await.starts_with("http/1.1 403"));
        let fixture = Fixture::start(guarded(vec![by_grpc("grpc"), by_http("gone")]));
        assert!(fixture.ask("GET /allow", &[]).await.starts_with("http/1.1 403"));
    });
}

#[test]
fn a_header_that_is_the_services_is_no_clients_in_any_spelling() {
    run(|| async {
        let fixture = Fixture::start(guarded(vec![by_http("auth")]));
        let forged = [("x_user", "admin"), ("X-User", "root"), ("X_USER", "king"), ("x-users", "kept")];
        assert!(fixture.ask("GET /allow", &forged).await.starts_with("http/1.1 200"));
        let passed = fixture.passed.borrow().concat();
        assert!(passed.contains("x-user: me\r\n") && passed.contains("x-users: kept\r\n"), "{passed}");
        assert!(!passed.contains("x_user") && !passed.contains("root"), "{passed}");
    });
}

#[test]
fn what_the_service_takes_out_of_the_query_a_rewrite_does_not_put_back() {
    run(|| async {
        let rewrite = Filter::Rewrite(UrlRewrite {
            hostname: None,
            path: Some(PathModifier::ReplaceFull("/in".into())),
        });
        let fixture = Fixture::start(guarded(vec![rewrite, by_grpc("grpc")]));
        assert!(fixture.ask("GET /query?a=b&token=secret", &[]).await.starts_with("http/1.1 200"));
        let passed = fixture.passed.borrow().concat();
        assert!(passed.starts_with("GET /in?a=b HTTP/1.1\r\n"), "{passed}");
    });
}

#[test]
fn headers_of_the_services_connection_do_not_reach_the_client() {
    run(|| async {
        let fixture = Fixture::start(guarded(vec![by_http("auth")]));
        let answer = fixture.ask("GET /nominated", &[]).await;
        assert!(answer.starts_with("http/1.1 403") && answer.contains("x-kept: 1"), "{answer}");
        assert!(!answer.contains("x-hop") && !answer.contains("keep-alive"), "{answer}");
    });
}

#[test]
fn an_upgrade_is_asked_about_like_any_request() {
    run(|| async {
        let fixture = Fixture::start(guarded(vec![by_http("auth")]));
        let handshake = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ];
        let answer = fixture.ask("GET /deny", &handshake).await;
        assert!(answer.starts_with("http/1.1 401"), "{answer}");
        assert!(fixture.passed.borrow().is_empty());
        assert!(!fixture.asked.borrow().concat().contains("upgrade"), "the question is no upgrade");
    });
}
