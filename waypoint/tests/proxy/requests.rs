//! What a route leads to: statuses, heads as endpoints see them, bodies.

use crate::support;
use fairway_config::model::{
    AppProtocol, BackendTarget, Filter, HeaderModifier, PathModifier, Redirect, Resource, Unresolved,
    UrlRewrite,
};
use http::{HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;
use support::backend::{Server, echo, full};
use support::wire::{Http1, exchange, get, status};
use support::*;

#[tokio::test]
async fn a_request_reaches_its_backend_and_the_answer_its_client() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let answer = exchange(
        proxy.address(),
        "POST /a%2fb//c?x=%20y HTTP/1.1\r\nhost: shop\r\nx-mine: 1\r\ncontent-length: 5\r\nx-forwarded-for: 6.6.6.6\r\n\
         connection: close, x-secret\r\nx-secret: 1\r\nkeep-alive: timeout=5\r\nte: gzip\r\n\r\nhello",
    )
    .await;
    assert_eq!(status(&answer), 200, "{answer}");
    // What it has passed is its own matter: see `loops.rs`.
    let is_via = |line: &&str| line.starts_with("x-fairway-via: ");
    let seen = answer.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(seen.split('\n').filter(is_via).count(), 1, "{seen}");
    let seen = seen.split('\n').filter(|it| !is_via(it)).collect::<Vec<_>>().join("\n");
    assert_eq!(
        seen,
        "POST /a%2fb//c?x=%20y\nhost: shop\nx-mine: 1\ncontent-length: 5\nx-forwarded-for: 127.0.0.1\n\
         x-forwarded-proto: http\n\nhello"
    );
}

#[tokio::test]
async fn every_way_to_fail_has_the_status_the_api_gives_it() {
    let server = Server::http(1, echo).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut no_backends = rule("/none", "shop/web:80");
    no_backends.backends.clear();
    let mut zero = rule("/zero", "shop/web:80");
    zero.backends[0].weight = 0;
    let mut unresolved = rule("/unresolved", "shop/web:80");
    unresolved.backends[0].target = BackendTarget::Unresolved(Unresolved::NotPermitted);
    let mut filter = rule("/filter", "shop/web:80");
    filter.filters = vec![Filter::Unresolved("extension".into())];
    let mut resources = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    resources.extend(backend("shop/empty:80", AppProtocol::Http1, &[]));
    resources.extend(backend("shop/dead:80", AppProtocol::Http1, &[nobody]));
    resources.extend([
        http(),
        routed(vec![
            rule("/ok", "shop/web:80"),
            rule("/empty", "shop/empty:80"),
            rule("/dead", "shop/dead:80"),
            rule("/unknown", "shop/unknown:80"),
            no_backends,
            zero,
            unresolved,
            filter,
        ]),
    ]);
    let proxy = Proxy::start(resources);
    for (path, expected) in [
        ("/ok", 200),
        ("/okay", 404),
        ("/", 404),
        ("/empty", 503),
        ("/dead", 503),
        ("/unknown", 500),
        ("/none", 500),
        ("/zero", 500),
        ("/unresolved", 500),
        ("/filter", 500),
        ("/ok/../empty", 400),
    ] {
        let answer = get(proxy.address(), path).await;
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        let tells_too_much = answer.contains("127.0.0.1") || answer.contains("shop/");
        assert!(expected == 200 || !tells_too_much, "{path}: {answer}");
    }
}

#[tokio::test]
async fn filters_change_the_request_and_the_response() {
    let server = Server::http(1, echo).await;
    let header = |name: &'static str, value: &'static str| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let mut changed = rule("/old", "shop/web:80");
    changed.filters = vec![
        Filter::RequestHeaders(HeaderModifier {
            set: vec![header("x-set", "1")],
            ..HeaderModifier::default()
        }),
        Filter::ResponseHeaders(HeaderModifier {
            add: vec![header("x-by", "rule")],
            ..HeaderModifier::default()
        }),
        Filter::Rewrite(UrlRewrite {
            hostname: Some(HeaderValue::from_static("inside")),
            path: Some(PathModifier::ReplacePrefix("/new".into())),
        }),
    ];
    let mut moved = rule("/moved", "shop/web:80");
    moved.filters = vec![Filter::Redirect(Redirect {
        scheme: None,
        hostname: Some("elsewhere".into()),
        path: None,
        port: Some(8080),
        status: StatusCode::FOUND,
    })];
    let mut resources = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    resources.extend([http(), routed(vec![changed, moved])]);
    let proxy = Proxy::start(resources);
    let answer = get(proxy.address(), "/old/a?b").await;
    assert!(answer.contains("x-by: rule") && answer.contains("GET /new/a?b\nhost: inside\n"), "{answer}");
    assert!(answer.contains("x-set: 1"), "{answer}");
    let answer = get(proxy.address(), "/moved/a?b").await;
    assert_eq!(status(&answer), 302);
    assert!(answer.contains("location: http://elsewhere:8080/moved/a?b\r\n"), "{answer}");
}

#[tokio::test]
async fn connections_to_endpoints_are_used_again() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = Http1::connect(proxy.address()).await;
    for number in 0..20 {
        client.send(&format!("GET /{number} HTTP/1.1\r\nhost: shop\r\n\r\n")).await;
        let (head, body) = client.receive().await.unwrap();
        assert_eq!(status(&head), 200);
        assert!(body.starts_with(&format!("GET /{number}\n")));
    }
    assert_eq!((server.requests(), server.connections()), (20, 1));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = Http1::connect(proxy.address()).await;
    let all: String = (0..10).map(|it| format!("GET /{it} HTTP/1.1\r\nhost: shop\r\n\r\n")).collect();
    client.send(&all).await;
    for number in 0..10 {
        let (_, body) = client.receive().await.unwrap();
        assert!(body.starts_with(&format!("GET /{number}\n")), "{body}");
    }
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let server = Server::http(1, |request: http::Request<hyper::body::Incoming>| async move {
        let code = request.uri().path().trim_start_matches('/').parse().unwrap_or(200);
        let body = if code == 200 { full("twelve bytes") } else { full("") };
        http::Response::builder().status(code).body(body).unwrap()
    })
    .await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = Http1::connect(proxy.address()).await;
    for (request, expected, length) in [
        ("HEAD /200", 200, Some("12")),
        ("GET /204", 204, None),
        ("GET /304", 304, None),
        ("GET /200", 200, Some("12")),
    ] {
        client.send(&format!("{request} HTTP/1.1\r\nhost: shop\r\n\r\n")).await;
        let head =
            client.read_until(|read| read.windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4)).await;
        let head = head.unwrap();
        assert_eq!(status(&head), expected, "{request}");
        let told = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(told, length, "{request}: {head}");
    }
    assert_eq!(client.read_until(|read| (read.len() >= 12).then_some(12)).await.unwrap(), "twelve bytes");
}

#[tokio::test]
async fn forms_of_the_target_and_the_host() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    for (head, expected, seen) in [
        ("GET http://shop/a HTTP/1.1\r\nhost: other\r\n", 200, "GET /a\nhost: shop\n"),
        ("OPTIONS * HTTP/1.1\r\nhost: shop\r\n", 200, "OPTIONS *\nhost: shop\n"),
        ("GET /a HTTP/1.1\r\n", 400, "no Host"),
        ("GET /a HTTP/1.1\r\nhost: a\r\nhost: a\r\n", 400, "more than one Host"),
        ("GET /a HTTP/1.1\r\nhost: a/b\r\n", 400, "not valid"),
        ("CONNECT shop:80 HTTP/1.1\r\nhost: shop:80\r\n", 405, "CONNECT is not served"),
        ("GET /a HTTP/1.1\r\nhost: shop\r\nexpect: tea\r\n", 417, "expects"),
    ] {
        let answer = exchange(proxy.address(), format!("{head}connection: close\r\n\r\n")).await;
        assert_eq!(status(&answer), expected, "{head}: {answer}");
        assert!(answer.contains(seen), "{head}: {answer}");
    }
}

#[tokio::test]
async fn a_listener_takes_only_its_hosts_and_a_route_only_its_own() {
    let server = Server::http(1, echo).await;
    let mut narrow = listener(fairway_config::model::ListenerProtocol::Http);
    narrow.hostname = Some("*.example.com".parse().unwrap());
    let mut one = route("one", vec![rule("/", "shop/web:80")]);
    one.attachments = vec![fairway_config::model::Attachment::Listener {
        listener: LISTENER.into(),
        hostnames: hosts(&["a.example.com"]),
    }];
    let mut resources = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    resources.extend([Resource::Listener(Arc::new(narrow)), Resource::Route(Arc::new(one))]);
    let proxy = Proxy::start(resources);
    for (host, expected) in
        [("a.example.com", 200), ("A.Example.COM:8080", 200), ("b.example.com", 404), ("example.org", 404)]
    {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&exchange(proxy.address(), request).await), expected, "{host}");
    }
}

#[tokio::test]
async fn a_listener_that_cannot_be_bound_is_named_and_takes_no_other_down() {
    let server = Server::http(1, echo).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut other = listener(fairway_config::model::ListenerProtocol::Http);
    other.key = "shop/gateway/other".into();
    other.port = taken.local_addr().unwrap().port();
    let refused = proxy.apply(vec![Resource::Listener(Arc::new(other))]).unwrap_err();
    assert_eq!(&*refused[0].key.name, "shop/gateway/other");
    assert!(refused[0].reason.contains("another process listens there"), "{}", refused[0].reason);
    assert_eq!(status(&get(proxy.address(), "/").await), 200);
}
