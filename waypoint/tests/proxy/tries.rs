//! Time limits, retries, mirrors, and connections that end when they should not.

use crate::support;
use fairway_config::model::{AppProtocol, BackendTarget, Filter, Fraction, Mirror, Retry, Timeouts};
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::backend::{Server, echo, full, read_head, say};
use support::wire::{Http1, exchange, get, status};
use support::*;
use tokio::io::AsyncReadExt;

fn retry(attempts: u32) -> Retry {
    Retry {
        attempts,
        backoff: Some(Duration::from_millis(1)),
        codes: vec![StatusCode::SERVICE_UNAVAILABLE],
        connection_errors: true,
    }
}

/// A server whose first so many answers are 503.
async fn failing(times: usize) -> Server {
    let left = Arc::new(AtomicUsize::new(times));
    Server::http(1, move |request| {
        let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1)).is_ok();
        async move {
            let mut response = echo(request).await;
            if fails {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
    })
    .await
}

#[tokio::test]
async fn a_code_the_route_names_is_tried_again_with_the_same_body() {
    for (fails, attempts, expected, requests) in [(2, 2, 200, 3), (2, 1, 503, 2), (1, 0, 503, 1)] {
        let server = failing(fails).await;
        let mut rule = rule("/", "shop/web:80");
        rule.retry = Some(retry(attempts));
        let proxy = Proxy::start(with_rule(rule, AppProtocol::Http1, &[server.address]));
        let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
        let answer = exchange(proxy.address(), request).await;
        assert_eq!((status(&answer), server.requests()), (expected, requests), "{fails} {attempts}");
        assert!(answer.ends_with("hello"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_too_long_to_remember_is_sent_once() {
    let server = failing(1).await;
    let mut rule = rule("/", "shop/web:80");
    rule.retry = Some(retry(3));
    let proxy = Proxy::start_with(with_rule(rule, AppProtocol::Http1, &[server.address]), |settings| {
        settings.limits.replay_bytes = 1000;
    });
    let body = "x".repeat(5000);
    let request =
        format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5000\r\n\r\n{body}");
    assert_eq!(status(&exchange(proxy.address(), request).await), 503);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_retry_goes_to_another_endpoint() {
    let dead = nobody().await;
    let server = Server::http(1, echo).await;
    let mut rule = rule("/", "shop/web:80");
    rule.retry = Some(retry(1));
    let proxy = Proxy::start(with_rule(rule, AppProtocol::Http1, &[server.address, dead]));
    for _ in 0..20 {
        assert_eq!(status(&get(proxy.address(), "/").await), 200);
    }
}

/// An address that was free a moment ago: it refuses connections.
async fn nobody() -> std::net::SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_request_of_which_nothing_was_sent_goes_to_another_endpoint_unless_the_route_forbids_it() {
    let server = Server::http(1, echo).await;
    let post = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    for (retry, expected) in [(None, 0), (Some(retry(0)), 1)] {
        let mut rule = rule("/", "shop/web:80");
        rule.retry = retry;
        let addresses = [nobody().await, server.address, nobody().await];
        let proxy = Proxy::start(with_rule(rule, AppProtocol::Http1, &addresses));
        let mut failed = 0;
        for _ in 0..20 {
            let answer = exchange(proxy.address(), post).await;
            failed += usize::from(status(&answer) == 503);
        }
        // With `attempts: 0` each endpoint is found out by a request; then it is held back.
        assert!(if expected == 0 { failed == 0 } else { (1..=2).contains(&failed) }, "{failed}");
    }
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_tried_again_only_if_that_changes_nothing() {
    for (method, expected, connections) in
        [("GET", 200, 2), ("PUT", 200, 2), ("POST", 502, 1), ("PATCH", 502, 1)]
    {
        let server = Server::raw(|mut stream, number| async move {
            read_head(&mut stream).await;
            if number > 0 {
                say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        })
        .await;
        let mut rule = rule("/", "shop/web:80");
        rule.retry = Some(retry(3));
        let proxy = Proxy::start(with_rule(rule, AppProtocol::Http1, &[server.address]));
        let request =
            format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(status(&exchange(proxy.address(), request).await), expected, "{method}");
        assert_eq!(server.connections(), connections, "{method}");
    }
}

/// Refuses its first so many streams without looking at them.
async fn refusing(times: usize) -> Server {
    let left = Arc::new(AtomicUsize::new(times));
    Server::raw(move |stream, _| {
        let left = left.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1)).is_ok() {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                } else {
                    respond.send_response(http::Response::new(()), true).unwrap();
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_stream_the_endpoint_refuses_may_be_tried_again_whatever_it_is() {
    // Four times goes out what the route says nothing of, and then the route's own tries begin.
    for (refused, attempts, expected) in [(1, 1, 200), (4, 1, 200), (7, 1, 200), (8, 1, 503), (1, 0, 503)] {
        let server = refusing(refused).await;
        let mut rule = rule("/", "shop/web:80");
        rule.retry = Some(retry(attempts));
        rule.retry.as_mut().unwrap().codes.clear();
        let proxy = Proxy::start(with_rule(rule, AppProtocol::Http2, &[server.address]));
        let post = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(status(&exchange(proxy.address(), post).await), expected, "{refused} {attempts}");
    }
}

#[tokio::test]
async fn limits_of_time_are_answered_with_504() {
    let server = Server::http(1, |_| async { std::future::pending().await }).await;
    for timeouts in [
        Timeouts { request: Some(Duration::from_millis(50)), backend_request: None },
        Timeouts { request: None, backend_request: Some(Duration::from_millis(50)) },
    ] {
        let mut rule = rule("/", "shop/web:80");
        rule.timeouts = timeouts;
        let proxy = Proxy::start(with_rule(rule, AppProtocol::Http1, &[server.address]));
        assert_eq!(status(&get(proxy.address(), "/").await), 504);
    }
}

#[tokio::test]
async fn a_limit_that_passes_in_the_middle_of_the_response_breaks_it_off() {
    let server = Server::raw(|mut stream, _| async move {
        read_head(&mut stream).await;
        say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        std::future::pending().await
    })
    .await;
    let mut rule = rule("/", "shop/web:80");
    rule.timeouts.request = Some(Duration::from_millis(300));
    let proxy = Proxy::start(with_rule(rule, AppProtocol::Http1, &[server.address]));
    let answer = get(proxy.address(), "/").await;
    assert_eq!(status(&answer), 200);
    assert!(answer.ends_with("half"), "{answer}");
}

#[tokio::test]
async fn an_endpoint_that_breaks_or_talks_nonsense_is_a_bad_gateway() {
    for says in ["", "HTTP/1.1 200 OK\r\ncontent-le", "nonsense\r\n\r\n"] {
        let server = Server::raw(move |mut stream, _| async move {
            read_head(&mut stream).await;
            say(&mut stream, says).await;
        })
        .await;
        let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
        assert_eq!(status(&get(proxy.address(), "/").await), 502, "{says:?}");
    }
}

/// The endpoint answers once, and closes its connection when the second request comes.
async fn closes_after_one() -> Server {
    Server::raw(|mut stream, _| async move {
        read_head(&mut stream).await;
        say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let mut byte = [0];
        let _ = stream.read(&mut byte).await;
    })
    .await
}

#[tokio::test]
async fn a_connection_the_endpoint_gave_up_meanwhile_costs_the_client_nothing() {
    let server = closes_after_one().await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = Http1::connect(proxy.address()).await;
    for _ in 0..5 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(status(&client.receive().await.unwrap().0), 200);
    }
    assert_eq!(server.connections(), 5);
}

#[tokio::test]
async fn a_route_without_retries_sends_nothing_twice_also_where_that_would_be_safe() {
    for (retry, expected) in [(None, 200), (Some(retry(1)), 200), (Some(retry(0)), 502)] {
        let server = closes_after_one().await;
        let mut rule = rule("/", "shop/web:80");
        rule.retry = retry;
        let proxy = Proxy::start(with_rule(rule, AppProtocol::Http1, &[server.address]));
        let mut client = Http1::connect(proxy.address()).await;
        for status_now in [200, expected] {
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            assert_eq!(status(&client.receive().await.unwrap().0), status_now);
        }
        assert_eq!(server.connections(), if expected == 200 { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_try_that_times_out_is_followed_by_the_next_if_that_changes_nothing_or_the_route_names_504() {
    for (method, attempts, codes, expected, connections) in [
        ("GET", 1, vec![], 200, 2),
        ("PUT", 1, vec![StatusCode::BAD_GATEWAY], 200, 2),
        ("POST", 1, vec![StatusCode::BAD_GATEWAY], 504, 1),
        ("POST", 1, vec![StatusCode::GATEWAY_TIMEOUT], 200, 2),
        ("GET", 0, vec![StatusCode::GATEWAY_TIMEOUT], 504, 1),
    ] {
        let server = Server::raw(|mut stream, number| async move {
            read_head(&mut stream).await;
            if number > 0 {
                say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
            let _ = stream.read(&mut [0]).await;
        })
        .await;
        let mut rule = rule("/", "shop/web:80");
        rule.retry = Some(Retry { codes, ..retry(attempts) });
        rule.timeouts.backend_request = Some(Duration::from_millis(200));
        let proxy = Proxy::start(with_rule(rule, AppProtocol::Http1, &[server.address]));
        let request =
            format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(status(&exchange(proxy.address(), request).await), expected, "{method} {attempts}");
        assert_eq!(server.connections(), connections, "{method} {attempts}");
    }
}

#[tokio::test]
async fn what_may_have_been_acted_upon_is_not_sent_twice() {
    let server = closes_after_one().await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = Http1::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(status(&client.receive().await.unwrap().0), 200);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi").await;
    assert_eq!(status(&client.receive().await.unwrap().0), 502);
}

#[tokio::test]
async fn a_mirror_gets_the_whole_request_and_its_answer_is_ignored() {
    let (sender, mut mirrored) = tokio::sync::mpsc::unbounded_channel();
    let shadow = Server::http(1, move |request| {
        let sender = sender.clone();
        async move {
            use http_body_util::BodyExt;
            let seen = echo(request).await.into_body().collect().await.unwrap().to_bytes();
            sender.send(String::from_utf8(seen.to_vec()).unwrap()).unwrap();
            http::Response::builder().status(500).body(full("ignored")).unwrap()
        }
    })
    .await;
    let server = Server::http(1, echo).await;
    let mut rule = rule("/", "shop/web:80");
    rule.filters = vec![Filter::Mirror(Mirror {
        target: BackendTarget::Backend("shop/shadow:80".into()),
        fraction: Fraction::ALL,
    })];
    let mut resources = with_rule(rule, AppProtocol::Http1, &[server.address]);
    resources.extend(backend("shop/shadow:80", AppProtocol::Http1, &[shadow.address]));
    let proxy = Proxy::start(resources);
    let request = "POST /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(status(&exchange(proxy.address(), request).await), 200);
    let seen = tokio::time::timeout(wire::LONG, mirrored.recv()).await.unwrap().unwrap();
    assert!(seen.starts_with("POST /a\nhost: a\n") && seen.ends_with("hello"), "{seen}");
}

#[tokio::test]
async fn a_mirror_is_told_that_trailers_are_wanted() {
    for (protocol, version) in [(AppProtocol::Http1, 1), (AppProtocol::Http2, 2)] {
        let (sender, mut mirrored) = tokio::sync::mpsc::unbounded_channel();
        let shadow = Server::http(version, move |request| {
            let te = request.headers().get_all("te").iter().map(|it| it.to_str().unwrap().to_owned());
            sender.send(te.collect::<Vec<_>>()).unwrap();
            echo(request)
        })
        .await;
        let server = Server::http(1, echo).await;
        let mut rule = rule("/", "shop/web:80");
        rule.filters = vec![Filter::Mirror(Mirror {
            target: BackendTarget::Backend("shop/shadow:80".into()),
            fraction: Fraction::ALL,
        })];
        let mut resources = with_rule(rule, AppProtocol::Http1, &[server.address]);
        resources.extend(backend("shop/shadow:80", protocol, &[shadow.address]));
        let proxy = Proxy::start(resources);
        for (te, expected) in [
            ("te: trailers\r\nconnection: te, close\r\n", &["trailers"][..]),
            ("te: gzip;q=0.5, Trailers\r\nconnection: te, close\r\n", &["trailers"]),
            ("te: gzip\r\nconnection: te, close\r\n", &[]),
            ("connection: close\r\n", &[]),
        ] {
            for body in ["content-length: 5\r\n\r\nhello", "content-length: 0\r\n\r\n"] {
                let request = format!("POST /a HTTP/1.1\r\nhost: a\r\n{te}{body}");
                assert_eq!(status(&exchange(proxy.address(), request).await), 200);
                let seen = tokio::time::timeout(wire::LONG, mirrored.recv()).await.unwrap().unwrap();
                assert_eq!(seen, expected, "{protocol:?} {te}");
            }
        }
    }
}
