//! The proxy's own answers: they carry what their rule does to responses, and to a gRPC client they are gRPC.

use crate::support;
use fairway_config::model::{
    AppProtocol, BackendTarget, CorsPolicy, Filter, HeaderModifier, ListenerProtocol, OriginPattern,
    Resource, Rule, TlsTermination, Unresolved,
};
use fairway_waypoint::Timeouts;
use fairway_waypoint::testing::to;
use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;
use support::backend::{Body, Server, full};
use support::pki::Authority;
use support::wire::{exchange, status};
use support::*;

fn response_filters(name: &'static str) -> Vec<Filter> {
    let set = vec![
        (HeaderName::from_static(name), HeaderValue::from_static("1")),
        (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0")),
    ];
    vec![
        Filter::Cors(CorsPolicy {
            allow_origins: vec![OriginPattern::Exact("https://app.ex".into())],
            allow_credentials: false,
            allow_methods: None,
            allow_headers: None,
            expose_headers: None,
            max_age: Duration::from_secs(5),
        }),
        Filter::ResponseHeaders(HeaderModifier { set, ..HeaderModifier::default() }),
    ]
}

/// Each way to fail under its path: its status, and the one of gRPC.
fn failing(
    slow: &Server,
    nobody: std::net::SocketAddr,
) -> (Vec<Resource>, Vec<(&'static str, u16, &'static str)>) {
    let mut resources = backend("shop/web:80", AppProtocol::Http1, &[slow.address]);
    resources.extend(backend("shop/empty:80", AppProtocol::Http1, &[]));
    resources.extend(backend("shop/dead:80", AppProtocol::Http1, &[nobody]));
    let ways: Vec<(&str, u16, &str, Rule)> = vec![
        ("/empty", 503, "14", rule("/empty", "shop/empty:80")),
        ("/dead", 503, "14", rule("/dead", "shop/dead:80")),
        ("/unknown", 500, "14", rule("/unknown", "shop/unknown:80")),
        ("/none", 500, "14", Rule { backends: vec![], ..rule("/none", "shop/web:80") }),
        ("/zero", 500, "14", Rule { backends: vec![to(0, "shop/web:80")], ..rule("/zero", "shop/web:80") }),
        ("/limit", 504, "4", {
            let mut it = rule("/limit", "shop/web:80");
            it.timeouts.request = Some(Duration::from_millis(50));
            it
        }),
        ("/unresolved", 500, "14", {
            let mut it = rule("/unresolved", "shop/web:80");
            it.backends[0].target = BackendTarget::Unresolved(Unresolved::NotPermitted);
            it
        }),
        // A rule that does not hold, as the controller sends it.
        ("/dropped", 500, "14", Rule { backends: vec![], ..rule("/dropped", "shop/web:80") }),
    ];
    let mut table = Vec::new();
    let mut rules = Vec::new();
    for (path, plain, grpc, mut rule) in ways {
        rule.filters = response_filters("x-by-rule");
        if path == "/dropped" {
            rule.filters.push(Filter::Unresolved("a rule that does not hold".into()));
        }
        for backend in &mut rule.backends {
            backend.filters = response_filters("x-by-backend");
        }
        rules.push(rule);
        table.push((path, plain, grpc));
    }
    resources.extend([http(), routed(rules)]);
    (resources, table)
}

async fn never(_: Request<Incoming>) -> Response<Body> {
    std::future::pending().await
}

#[tokio::test]
async fn an_answer_of_the_proxy_carries_what_its_rule_does_to_responses() {
    let server = Server::http(1, never).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (resources, table) = failing(&server, nobody);
    let proxy = Proxy::start(resources);
    for (path, plain, grpc) in table {
        for (origin, allowed) in [("https://app.ex", true), ("https://evil.ex", false)] {
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: shop\r\norigin: {origin}\r\nconnection: close\r\n\r\n");
            let answer = exchange(proxy.address(), request).await;
            assert_eq!(status(&answer), plain, "{path}: {answer}");
            assert_eq!(
                answer.contains("access-control-allow-origin: https://app.ex\r\n"),
                allowed,
                "{path}: {answer}"
            );
            assert!(answer.contains("x-by-rule: 1\r\n"), "{path}: {answer}");
        }
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: shop\r\norigin: https://app.ex\r\ncontent-type: application/grpc\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n"
        );
        let answer = exchange(proxy.address(), request).await;
        assert_eq!(status(&answer), 200, "{path}: {answer}");
        assert!(answer.contains(&format!("grpc-status: {grpc}\r\n")), "{path}: {answer}");
        assert_eq!(answer.matches("grpc-status").count(), 1, "{path}: {answer}");
        assert!(answer.contains("content-type: application/grpc\r\n"), "{path}: {answer}");
        assert!(answer.contains("x-by-rule: 1\r\n"), "{path}: {answer}");
        assert!(answer.contains("access-control-allow-origin: https://app.ex\r\n"), "{path}: {answer}");
    }
}

/// A client of HTTP/2 with prior knowledge.
async fn h2_client(proxy: &Proxy) -> h2::client::SendRequest<bytes::Bytes> {
    let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

/// The response to a request over HTTP/2: its head, whether that ends the stream, and the bytes of its body.
async fn ask_http2(proxy: &Proxy, request: Request<()>) -> (http::response::Parts, bool, usize) {
    let mut client = h2_client(proxy).await;
    let (response, _) = client.send_request(request, true).unwrap();
    let (head, mut body) = tokio::time::timeout(wire::LONG, response).await.unwrap().unwrap().into_parts();
    let (ends, mut bytes) = (body.is_end_stream(), 0);
    while let Some(data) = body.data().await {
        bytes += data.unwrap().len();
    }
    (head, ends, bytes)
}

#[tokio::test]
async fn a_head_over_http2_is_answered_by_a_head_whoever_answers() {
    let server = Server::http(1, never).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (resources, table) = failing(&server, nobody);
    let proxy = Proxy::start(resources);
    for (path, plain, _) in table.into_iter().chain([("/nowhere", 404, "")]) {
        let request = |method: &str| Request::builder().method(method).uri(format!("http://shop{path}"));
        let (head, ends, bytes) = ask_http2(&proxy, request("HEAD").body(()).unwrap()).await;
        assert_eq!((head.status.as_u16(), ends, bytes), (plain, true, 0), "{path}");
        let (of_get, ends, bytes) = ask_http2(&proxy, request("GET").body(()).unwrap()).await;
        assert_eq!((of_get.status.as_u16(), ends), (plain, false), "{path}");
        assert!(bytes > 0, "{path}");
        assert_eq!(head.headers.get("content-length"), of_get.headers.get("content-length"), "{path}");
    }
}

#[tokio::test]
async fn a_response_that_has_no_content_ends_with_its_head_over_http2() {
    use AppProtocol::{Http1, Http2};
    // An endpoint of HTTP/2 may send what its status does not have.
    for (protocol, version, status, method) in
        [(Http2, 2, 204, "GET"), (Http2, 2, 304, "GET"), (Http1, 1, 200, "HEAD"), (Http1, 1, 404, "HEAD")]
    {
        let server = Server::http(version, move |_| async move {
            Response::builder().status(status).body(full("content")).unwrap()
        })
        .await;
        let proxy = Proxy::start(simple(protocol, &[server.address]));
        let request = Request::builder().method(method).uri("http://shop/").body(()).unwrap();
        let (head, ends, bytes) = ask_http2(&proxy, request).await;
        assert_eq!((head.status.as_u16(), ends, bytes), (status, true, 0), "{method}");
        assert!(status != 204 || !head.headers.contains_key("content-length"));
    }
}

#[tokio::test]
async fn a_grpc_client_is_answered_in_grpc_whatever_refuses_it() {
    let server = Server::http(1, never).await;
    let resources = with_rule(rule("/ok", "shop/web:80"), AppProtocol::Http1, &[server.address]);
    let timeouts = Timeouts { body: Duration::from_secs(1), ..Timeouts::default() };
    let proxy = Proxy::start_with(resources, |settings| settings.timeouts = timeouts);
    for (line, more, expected) in [
        ("POST /nowhere HTTP/1.1", "", "12"),
        ("POST /ok/../x HTTP/1.1", "", "13"),
        ("POST /ok HTTP/1.1", "expect: tea\r\n", "2"),
        ("POST /ok HTTP/1.1", "expect: 100-continue\r\nexpect: tea\r\n", "2"),
        ("POST /ok HTTP/1.1", "host: other\r\n", "13"),
    ] {
        let request = format!(
            "{line}\r\nhost: shop\r\n{more}content-type: application/grpc+proto\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        let answer = exchange(proxy.address(), request).await;
        assert_eq!(status(&answer), 200, "{line}: {answer}");
        assert!(answer.contains(&format!("grpc-status: {expected}\r\n")), "{line} {more}: {answer}");
    }

    let many: Vec<String> = (0..120).map(|number| format!("x-{number}")).collect();
    let (long, longer) = ("a".repeat(70 * 1024), "a".repeat(120 * 1024));
    let target = format!("/ok?{}", "a".repeat(17 * 1024));
    let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for (what, path, more, expected) in [
        ("no route", "/nowhere", vec![], "12"),
        ("a path that can be read in two ways", "/ok/../x", vec![], "13"),
        ("an expectation", "/ok", one("expect", "tea"), "2"),
        ("another host", "/ok", one("host", "other"), "13"),
        ("too many fields", "/ok", many.iter().map(|it| (it.clone(), "1".to_owned())).collect(), "13"),
        ("a long field", "/ok", one("x-long", &long), "13"),
        ("a longer field", "/ok", one("x-long", &longer), "13"),
        ("a long target", &target, vec![], "2"),
    ] {
        let mut request =
            Request::post(format!("http://shop{path}")).header("content-type", "application/grpc");
        for (name, value) in more {
            request = request.header(name, value);
        }
        let (head, _, _) = ask_http2(&proxy, request.body(()).unwrap()).await;
        let said = (head.status.as_u16(), head.headers.get("grpc-status").and_then(|it| it.to_str().ok()));
        assert_eq!(said, (200, Some(expected)), "{what}");
    }
    // A body that does not come.
    let mut client = h2_client(&proxy).await;
    let request = Request::post("http://shop/ok").header("content-type", "application/grpc");
    let (response, _held) = client.send_request(request.body(()).unwrap(), false).unwrap();
    let head = tokio::time::timeout(wire::LONG, response).await.unwrap().unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["grpc-status"].to_str().unwrap()), (200, "2"));
}

#[tokio::test]
async fn a_grpc_client_at_another_listeners_name_is_told_in_grpc() {
    let authority = Authority::new("names");
    let leaf = authority.for_host("*.example.com");
    let https = || {
        ListenerProtocol::Https(TlsTermination {
            certificates: vec!["shop/wild".into()],
            clients: None,
            min_version: Default::default(),
            algorithms: Default::default(),
        })
    };
    let at = |key: &str, host| Resource::Listener(Arc::new(named(key, Some(host), https())));
    let proxy = Proxy::start(vec![
        at(LISTENER, "a.example.com"),
        at("shop/gateway/other", "b.example.com"),
        leaf.certificate("shop/wild"),
    ]);
    let mut config = tls::client(&authority, None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tls::connect(proxy.address(), &Arc::new(config), "a.example.com").await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = Request::post("https://b.example.com/").header("content-type", "application/grpc");
    let (response, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
    let head = tokio::time::timeout(wire::LONG, response).await.unwrap().unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["grpc-status"].to_str().unwrap()), (200, "2"));
    assert!(proxy.scrape().contains("fairway_local_replies_total{reason=\"misdirected\"}"));
}
