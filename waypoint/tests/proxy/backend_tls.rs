//! TLS to backends: whom the proxy believes, what it shows, what is spoken, and connections that are never mixed.

use crate::support;
use fairway_config::model::{
    AddressSource, AppProtocol, BackendSecurity, BackendTarget, BackendTls, BackendTrust, Filter, Fraction,
    GrpcMethodMatch, Listener, ListenerProtocol, Mirror, PathMatch, Resource, RouteKind, Rule, SubjectName,
};
use http::Request;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::backend::{Server, echo, full};
use support::pki::{Authority, Seen, Wanted, https_server, policy, secured, tls_server};
use support::wire::{Http1, exchange, get, http2, status};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const KEY: &str = "shop/web:80";

fn dns(name: &str) -> SubjectName {
    SubjectName::Dns(name.into())
}

fn uri(name: &str) -> SubjectName {
    SubjectName::Uri(name.into())
}

/// Everything to one backend with this security.
fn with_security(security: &BackendSecurity, protocol: AppProtocol, server: &Server) -> Vec<Resource> {
    secured(simple(protocol, &[server.address]), KEY, security)
}

fn lines(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().clone()
}

#[tokio::test]
async fn a_backend_is_believed_if_the_policys_authority_signed_one_of_the_policys_names() {
    let (authority, other) = (Authority::new("right"), Authority::new("wrong"));
    let spiffe = "spiffe://example.com/web";
    let leaf = authority.sign(&Wanted {
        dns: &["web.example.com", "*.wild.example.com"],
        uris: &[spiffe],
        ..Wanted::default()
    });
    let (server, seen) = https_server(leaf.server(None, &["http/1.1"]), echo).await;
    let mut proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    for (hostname, names, signer, expected) in [
        ("web.example.com", vec![], &authority, 200),
        ("WEB.example.com", vec![], &authority, 200),
        ("a.wild.example.com", vec![], &authority, 200),
        ("web.example.com", vec![], &other, 502),
        ("other.example.com", vec![], &authority, 502),
        ("a.b.wild.example.com", vec![], &authority, 502),
        // With names, the hostname is only what is asked for (GEP-3155).
        ("other.example.com", vec![dns("web.example.com")], &authority, 200),
        ("other.example.com", vec![uri(spiffe)], &authority, 200),
        ("web.example.com", vec![dns("other.example.com")], &authority, 502),
        ("web.example.com", vec![uri("spiffe://example.com/other")], &authority, 502),
        ("web.example.com", vec![uri("spiffe://example.com/WEB")], &authority, 502),
        ("web.example.com", vec![dns("other.example.com"), uri(spiffe)], &authority, 200),
        ("web.example.com", vec![dns("*.example.com")], &authority, 200),
        ("web.example.com", vec![dns("*.example.org")], &authority, 502),
        ("web.example.com", vec![dns("web.example.com")], &other, 502),
    ] {
        let case = format!("{hostname} {names:?}");
        let security = policy(hostname, names, signer);
        proxy.apply(with_security(&security, AppProtocol::Http1, &server)).unwrap();
        let answer = get(proxy.address(), "/").await;
        assert_eq!(status(&answer), expected, "{case}: {answer}");
    }
    // The name asked for is the policy's, and never the request's.
    assert!(lines(&seen).iter().all(|line| line.contains("example.com http/1.1 0")), "{:?}", lines(&seen));
}

#[tokio::test]
async fn an_expired_certificate_is_not_believed_and_plain_text_never_spoken() {
    let authority = Authority::new("ca");
    let expired = authority.sign(&Wanted { dns: &["web"], expired: true, ..Wanted::default() });
    let (server, seen) = https_server(expired.server(None, &[]), echo).await;
    let plain = Server::http(1, echo).await;
    for server in [&server, &plain] {
        let security = policy("web", vec![], &authority);
        let proxy = Proxy::start(with_security(&security, AppProtocol::Http1, server));
        assert_eq!(status(&get(proxy.address(), "/").await), 502);
    }
    assert_eq!((lines(&seen).len(), plain.requests()), (0, 0));
}

#[tokio::test]
async fn a_policy_that_cannot_be_met_is_a_500_and_nobody_is_connected_to() {
    let server = Server::http(1, echo).await;
    let authority = Authority::new("ca");
    let tls = |hostname: &str, names| BackendTls {
        hostname: hostname.into(),
        names,
        trust: BackendTrust::Bundle(authority.bundle()),
    };
    for security in [
        BackendSecurity::Unusable("caCertificateRefs[0] is not found".into()),
        BackendSecurity::Tls(tls("not a name", vec![])),
        BackendSecurity::Tls(tls("web", vec![dns("a..b")])),
    ] {
        let proxy = Proxy::start(with_security(&security, AppProtocol::Http1, &server));
        assert_eq!(status(&get(proxy.address(), "/").await), 500, "{security:?}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn what_the_backend_speaks_is_what_alpn_offers() {
    let authority = Authority::new("ca");
    let leaf = authority.for_host("web");
    let security = policy("web", vec![], &authority);
    for (alpn, protocol, kind, expected) in [
        (vec!["h2", "http/1.1"], AppProtocol::Unspecified, RouteKind::Http, Some("http/1.1")),
        (vec!["h2", "http/1.1"], AppProtocol::Http1, RouteKind::Http, Some("http/1.1")),
        (vec!["h2", "http/1.1"], AppProtocol::Http2, RouteKind::Http, Some("h2")),
        (vec!["h2", "http/1.1"], AppProtocol::Unspecified, RouteKind::Grpc, Some("h2")),
        // An application protocol of "https" says nothing of the version.
        (vec!["h2", "http/1.1"], AppProtocol::Tcp, RouteKind::Grpc, Some("h2")),
        // Without ALPN on the other side, what is known beforehand counts.
        (vec![], AppProtocol::Http1, RouteKind::Http, Some("-")),
        (vec!["h2"], AppProtocol::Http1, RouteKind::Http, None),
    ] {
        let (server, seen) = https_server(leaf.server(None, &alpn), |request| async move {
            http::Response::new(full(format!("{:?}", request.version())))
        })
        .await;
        let mut resources = with_security(&security, protocol, &server);
        let mut rule = rule("/", KEY);
        if kind == RouteKind::Grpc {
            let any = GrpcMethodMatch { service: None, method: None };
            rule.matches[0].path = PathMatch::Grpc(any);
        }
        let mut route = route("route", vec![rule]);
        route.kind = kind;
        resources.push(Resource::Route(Arc::new(route)));
        let proxy = Proxy::start(resources);
        let request =
            "GET /a.S/M HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\nconnection: close\r\n\r\n";
        let answer = exchange(proxy.address(), request).await;
        match expected {
            Some(alpn) => {
                let version = if alpn == "h2" { "HTTP/2.0" } else { "HTTP/1.1" };
                assert!(
                    status(&answer) == 200 && answer.ends_with(version),
                    "{protocol:?} {kind:?}: {answer}"
                );
                assert_eq!(lines(&seen), [format!("web {alpn} 0")], "{protocol:?} {kind:?}");
            }
            // UNAVAILABLE, as the client asked in gRPC.
            None => assert!(answer.contains("grpc-status: 14"), "{answer}"),
        }
    }
}

#[tokio::test]
async fn grpc_trailers_come_through_tls() {
    let authority = Authority::new("ca");
    let config = authority.for_host("web").server(None, &["h2"]);
    let (server, _) = https_server(config, |_| async {
        let trailers = http::HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            http::HeaderValue::from_static("0"),
        )]);
        let body = full("message").with_trailers(async { Some(Ok(trailers)) }).boxed();
        http::Response::builder().header("content-type", "application/grpc").body(body).unwrap()
    })
    .await;
    let security = policy("web", vec![], &authority);
    let proxy = Proxy::start(with_security(&security, AppProtocol::Http2, &server));
    let mut client = http2(proxy.address()).await;
    let request = Request::post("http://web/a.Service/Method")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(full(""))
        .unwrap();
    let response = client.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(response.trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn an_http2_backend_is_told_the_scheme_of_its_own_connection() {
    let authority = Authority::new("ca");
    let config = authority.for_host("web").server(None, &["h2"]);
    let (secure, _) = https_server(config, echo).await;
    let (copied, mut copies) = tokio::sync::mpsc::unbounded_channel();
    let config = authority.for_host("web").server(None, &["h2"]);
    let (shadow, _) = https_server(config, move |request: Request<hyper::body::Incoming>| {
        copied.send(request.uri().to_string()).unwrap();
        echo(request)
    })
    .await;
    let plain = Server::http(2, echo).await;
    let security = policy("web", vec![], &authority);
    let mirror = Mirror { target: BackendTarget::Backend("shop/shadow:80".into()), fraction: Fraction::ALL };
    let mut resources = vec![http()];
    for (key, server, security) in [
        (KEY, &secure, &security),
        ("shop/shadow:80", &shadow, &security),
        ("shop/plain:80", &plain, &BackendSecurity::Plain),
    ] {
        resources.extend(secured(backend(key, AppProtocol::Http2, &[server.address]), key, security));
    }
    let secure_rule = Rule { filters: vec![Filter::Mirror(mirror)], ..rule("/secure", KEY) };
    resources.push(routed(vec![secure_rule, rule("/plain", "shop/plain:80")]));
    let proxy = Proxy::start(resources);
    // The client's own scheme has no say in it.
    for (path, expected) in [("/secure", "https"), ("/plain", "http")] {
        let answer = get(proxy.address(), path).await;
        assert!(answer.contains(&format!("GET {expected}://shop{path}\n")), "{answer}");
        let mut client = http2(proxy.address()).await;
        let request = Request::get(format!("http://shop{path}")).body(full("")).unwrap();
        let answer = client.send_request(request).await.unwrap().into_body().collect().await.unwrap();
        let answer = String::from_utf8(answer.to_bytes().to_vec()).unwrap();
        assert!(answer.starts_with(&format!("GET {expected}://shop{path}\n")), "{answer}");
    }
    let copy = tokio::time::timeout(wire::LONG, copies.recv()).await.unwrap().unwrap();
    assert_eq!(copy, "https://shop/secure");
}

/// One listener that shows a certificate to backends.
fn showing(certificate: Option<&str>) -> Resource {
    Resource::Listener(Arc::new(Listener {
        backend_certificate: certificate.map(Into::into),
        authorizations: vec![],
        address_source: AddressSource::Connection,
        filters: vec![],
        limits: vec![],
        authentications: vec![],
        ..listener(ListenerProtocol::Http)
    }))
}

#[tokio::test]
async fn the_listeners_certificate_is_shown_to_a_backend_that_asks() {
    let (servers, clients, strangers) =
        (Authority::new("servers"), Authority::new("clients"), Authority::new("strangers"));
    let leaf = servers.for_host("web");
    let (server, seen) = https_server(leaf.server(Some(&clients), &["http/1.1"]), echo).await;
    let (open, unasked) = https_server(leaf.server(None, &["http/1.1"]), echo).await;
    let security = policy("web", vec![], &servers);
    let mut proxy = Proxy::start(with_security(&security, AppProtocol::Http1, &server));
    let mine = clients.for_host("gateway").certificate("shop/mine");
    let stranger = strangers.for_host("gateway").certificate("shop/stranger");
    proxy.apply(vec![mine, stranger]).unwrap();
    for (certificate, expected) in
        [(None, 502), (Some("shop/mine"), 200), (Some("shop/stranger"), 502), (Some("shop/missing"), 500)]
    {
        proxy.apply(vec![showing(certificate)]).unwrap();
        let answer = get(proxy.address(), "/").await;
        assert_eq!(status(&answer), expected, "{certificate:?}: {answer}");
    }
    assert_eq!(lines(&seen), ["web http/1.1 1"]);
    // One that does not ask sees none.
    proxy.apply(vec![showing(Some("shop/mine"))]).unwrap();
    proxy.apply(with_security(&security, AppProtocol::Http1, &open)).unwrap();
    assert_eq!(status(&get(proxy.address(), "/").await), 200);
    assert_eq!(lines(&unasked), ["web http/1.1 0"]);
}

#[tokio::test]
async fn connections_of_different_security_are_never_mixed() {
    let authority = Authority::new("ca");
    let leaf = authority.sign(&Wanted { dns: &["a", "b"], ..Wanted::default() });
    let (server, seen) = https_server(leaf.server(None, &["http/1.1", "h2"]), echo).await;
    for protocol in [AppProtocol::Http1, AppProtocol::Http2] {
        seen.lock().unwrap().clear();
        // Two Services with one endpoint, and another policy each; a third is spoken to in the clear.
        let mut resources = vec![http()];
        for (key, security) in [
            ("shop/a:80", policy("a", vec![], &authority)),
            ("shop/b:80", policy("b", vec![], &authority)),
            ("shop/same:80", policy("a", vec![], &authority)),
            ("shop/plain:80", BackendSecurity::Plain),
        ] {
            resources.extend(secured(backend(key, protocol, &[server.address]), key, &security));
        }
        resources.push(routed(vec![
            rule("/a", "shop/a:80"),
            rule("/b", "shop/b:80"),
            rule("/same", "shop/same:80"),
            rule("/plain", "shop/plain:80"),
        ]));
        let proxy = Proxy::start(resources);
        for _ in 0..3 {
            for (path, expected) in [("/a", 200), ("/b", 200), ("/same", 200)] {
                let answer = get(proxy.address(), path).await;
                assert_eq!(status(&answer), expected, "{path}: {answer}");
            }
            assert!(status(&get(proxy.address(), "/plain").await) >= 500);
        }
        // Equal policies share their connections.
        let alpn = if protocol == AppProtocol::Http1 { "http/1.1" } else { "h2" };
        assert_eq!(lines(&seen), [format!("a {alpn} 0"), format!("b {alpn} 0")]);
    }
}

#[tokio::test]
async fn what_rotates_opens_new_connections_and_no_request_fails() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let leaf = servers.for_host("web");
    let (server, seen) = https_server(leaf.server(Some(&clients), &["http/1.1"]), echo).await;
    let security = policy("web", vec![], &servers);
    let mut resources = with_security(&security, AppProtocol::Http1, &server);
    resources.push(showing(Some("shop/mine")));
    resources.push(clients.for_host("first").certificate("shop/mine"));
    let mut proxy = Proxy::start(resources);
    let mut client = Http1::connect(proxy.address()).await;
    let mut ask = async |connections: usize, what: &str| {
        for _ in 0..3 {
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let (head, _) = client.receive().await.unwrap();
            assert_eq!(status(&head), 200, "{what}: {head}");
        }
        assert_eq!(seen.lock().unwrap().len(), connections, "{what}");
    };
    ask(1, "at first").await;
    proxy.apply(vec![clients.for_host("second").certificate("shop/mine")]).unwrap();
    ask(2, "another client certificate").await;
    // Nothing that matters: a route, and endpoints that are the same.
    proxy.apply(vec![routed(vec![rule("/", KEY), rule("/other", KEY)])]).unwrap();
    ask(2, "another route").await;
    let named = policy("web", vec![dns("web")], &servers);
    proxy.apply(with_security(&named, AppProtocol::Http1, &server)[..1].to_vec()).unwrap();
    ask(3, "another policy").await;
    proxy.apply(with_security(&security, AppProtocol::Http1, &server)[..1].to_vec()).unwrap();
    ask(4, "the first policy again").await;
}

#[tokio::test]
async fn a_bundle_that_is_taken_away_stops_what_it_vouched_for() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (server, _) = https_server(old.for_host("web").server(None, &["http/1.1"]), echo).await;
    let with = |authority: &Authority| {
        with_security(&policy("web", vec![], authority), AppProtocol::Http1, &server)[..1].to_vec()
    };
    let mut proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = Http1::connect(proxy.address()).await;
    for (authority, expected) in [(&old, 200), (&new, 502), (&old, 200)] {
        proxy.apply(with(authority)).unwrap();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        // The session that the old bundle vouched for is idle in the pool, and of no use.
        assert_eq!(status(&client.receive().await.unwrap().0), expected);
    }
}

#[tokio::test]
async fn a_websocket_goes_over_tls() {
    let authority = Authority::new("ca");
    let config = authority.for_host("web").server(None, &["http/1.1"]);
    let (server, _) = tls_server(config, |mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let text = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhi";
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut said = [0; 5];
        stream.read_exact(&mut said).await.unwrap();
        stream.write_all(&said.map(|it| it.to_ascii_uppercase())).await.unwrap();
        let _ = stream.shutdown().await;
    })
    .await;
    let security = policy("web", vec![], &authority);
    let proxy = Proxy::start(with_security(&security, AppProtocol::Http1, &server));
    let request = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\nhello";
    let answer = exchange(proxy.address(), request).await;
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("hiHELLO"), "{answer}");
}

#[tokio::test]
async fn one_backends_policy_that_does_not_fit_leaves_its_endpoints_to_the_others() {
    let (authority, wrong) = (Authority::new("ca"), Authority::new("wrong"));
    let leaf = authority.for_host("web");
    let (mut servers, served) = (vec![], [(); 2].map(|()| Arc::new(AtomicUsize::new(0))));
    for served in &served {
        let served = served.clone();
        let count = move |request| {
            served.fetch_add(1, Ordering::SeqCst);
            echo(request)
        };
        servers.push(https_server(leaf.server(None, &["http/1.1"]), count).await.0);
    }
    let addresses: Vec<_> = servers.iter().map(|it| it.address).collect();
    let mut resources =
        vec![http(), routed(vec![rule("/good", "shop/good:80"), rule("/bad", "shop/bad:80")])];
    for (key, signer) in [("shop/good:80", &authority), ("shop/bad:80", &wrong)] {
        let security = policy("web", vec![], signer);
        resources.extend(secured(backend(key, AppProtocol::Http1, &addresses), key, &security));
    }
    let proxy = Proxy::start(resources);
    for _ in 0..10 {
        assert_eq!(status(&get(proxy.address(), "/bad").await), 502);
    }
    for _ in 0..20 {
        assert_eq!(status(&get(proxy.address(), "/good").await), 200);
    }
    // Both serve: none of them was held back for what another's policy says.
    assert!(served.iter().all(|it| it.load(Ordering::SeqCst) > 2), "{served:?}");
}
