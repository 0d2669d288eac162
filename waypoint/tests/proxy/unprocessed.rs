//! HTTP/2 requests that an endpoint says it has not looked at (RFC 9113 §8.7): sent again, and nothing else is.

use crate::support;
use bytes::Bytes;
use fairway_config::model::{AppProtocol, Resource, RouteKind};
use http::{Request, Response};
use http_body_util::BodyExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::backend::{Server, full};
use support::wire::{exchange, get, http2, status};
use support::*;
use tokio::net::TcpStream;

/// What an endpoint does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// RST_STREAM with this reason, at once.
    Reset(h2::Reason),
    /// GOAWAY that does not leave this stream out, and the end of the connection.
    Break,
    /// Reads it and answers with its body.
    Answer,
}

/// An endpoint that does one deed after the other, and what it has read of the requests that it answered.
async fn endpoint(deeds: Vec<Deed>) -> (Server, Arc<Mutex<Vec<String>>>) {
    let (next, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let bodies = seen.clone();
    let server = Server::raw(move |stream, _| {
        let (deeds, next, seen) = (deeds.clone(), next.clone(), seen.clone());
        async move { serve(stream, &deeds, &next, &seen).await }
    })
    .await;
    (server, bodies)
}

async fn serve(stream: TcpStream, deeds: &[Deed], next: &AtomicUsize, seen: &Arc<Mutex<Vec<String>>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let at = next.fetch_add(1, Ordering::SeqCst);
        match deeds.get(at).copied().unwrap_or(Deed::Answer) {
            Deed::Reset(reason) => respond.send_reset(reason),
            Deed::Break => connection.abrupt_shutdown(h2::Reason::NO_ERROR),
            Deed::Answer => {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    let mut bytes = Vec::new();
                    while let Some(Ok(chunk)) = body.data().await {
                        let _ = body.flow_control().release_capacity(chunk.len());
                        bytes.extend_from_slice(&chunk);
                    }
                    seen.lock().unwrap().push(String::from_utf8(bytes.clone()).unwrap());
                    if let Ok(mut send) = respond.send_response(Response::new(()), false) {
                        let _ = send.send_data(Bytes::from(bytes), true);
                    }
                });
            }
        }
    }
}

fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

const REFUSED: Deed = Deed::Reset(h2::Reason::REFUSED_STREAM);

#[tokio::test]
async fn what_was_not_looked_at_goes_out_again_whole_a_few_times_without_a_retry_of_the_route() {
    for (refusals, body, expected) in
        [(1, "", 200), (1, "hello", 200), (3, "hello", 200), (4, "hello", 503), (4, "", 503)]
    {
        let (server, seen) = endpoint(vec![REFUSED; refusals]).await;
        let proxy = Proxy::start(simple(AppProtocol::Http2, &[server.address]));
        let answer = exchange(proxy.address(), post(body)).await;
        assert_eq!(status(&answer), expected, "{refusals} {body:?}");
        let answered = if expected == 200 { vec![body.to_owned()] } else { vec![] };
        assert_eq!(*seen.lock().unwrap(), answered, "{refusals} {body:?}");
    }
}

#[tokio::test]
async fn what_may_have_been_looked_at_never_goes_out_again() {
    for deed in [
        Deed::Reset(h2::Reason::CANCEL),
        Deed::Reset(h2::Reason::INTERNAL_ERROR),
        Deed::Reset(h2::Reason::ENHANCE_YOUR_CALM),
        Deed::Break,
    ] {
        let (server, seen) = endpoint(vec![deed]).await;
        let proxy = Proxy::start(simple(AppProtocol::Http2, &[server.address]));
        let answer = exchange(proxy.address(), post("hello")).await;
        assert_eq!(status(&answer), 502, "{deed:?}");
        assert!(seen.lock().unwrap().is_empty(), "{deed:?}");
    }
}

/// Takes a client's preface, and says GOAWAY with the last stream that it has looked at (RFC 9113 §6.8).
async fn says_goaway(mut stream: TcpStream, last: u32) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut seen = vec![0; 24];
    let _ = stream.read_exact(&mut seen).await;
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    // Until there is a request.
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        let _ = stream.read_exact(&mut payload).await;
        if head[3] == 1 {
            break;
        }
    }
    let mut frame = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
    frame.extend_from_slice(&last.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    let _ = stream.write_all(&frame).await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn a_goaway_that_leaves_a_request_out_sends_it_over_a_new_connection_or_to_another_endpoint() {
    let (good, seen) = endpoint(vec![]).await;
    let leaving = Server::raw(move |stream, _| says_goaway(stream, 0)).await;
    // Takes one connection only: then nobody is there.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone_at = gone.local_addr().unwrap();
    let takes_one = tokio::spawn(async move {
        let (stream, _) = gone.accept().await.unwrap();
        drop(gone);
        says_goaway(stream, 0).await;
    });
    for first in [leaving.address, gone_at] {
        let before = seen.lock().unwrap().len();
        let proxy = Proxy::start(simple(AppProtocol::Http2, &[first, good.address]));
        let mut answers = Vec::new();
        for _ in 0..6 {
            answers.push(status(&exchange(proxy.address(), post("hello")).await));
        }
        let good_answers = answers.iter().filter(|it| **it == 200).count();
        assert_eq!(seen.lock().unwrap().len() - before, good_answers);
        if first == gone_at {
            assert_eq!(good_answers, 6, "{answers:?}");
        }
    }
    takes_one.abort();
}

#[tokio::test]
async fn an_endpoint_that_allows_one_stream_at_a_time_is_never_asked_for_two() {
    let (over, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = over.clone();
    let server = Server::raw(move |stream, _| {
        let (over, open) = (counted.clone(), open.clone());
        async move {
            let mut builder = h2::server::Builder::new();
            // The settings come late.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let mut connection =
                builder.max_concurrent_streams(1).handshake::<_, Bytes>(stream).await.unwrap();
            let here = Arc::new(AtomicUsize::new(0));
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                if here.fetch_add(1, Ordering::SeqCst) > 0 {
                    over.fetch_add(1, Ordering::SeqCst);
                }
                open.fetch_add(1, Ordering::SeqCst);
                let here = here.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    here.fetch_sub(1, Ordering::SeqCst);
                    let _ = respond.send_response(Response::new(()), true);
                });
            }
        }
    })
    .await;
    let proxy = Proxy::start(simple(AppProtocol::Http2, &[server.address]));
    for _ in 0..3 {
        let burst = (0..10).map(|_| get(proxy.address(), "/"));
        for answer in futures_util::future::join_all(burst).await {
            assert_eq!(status(&answer), 200);
        }
    }
    assert_eq!(over.load(Ordering::SeqCst), 0);
    assert!(
        proxy.scrape().lines().any(|it| it.contains("retries") && it.ends_with(" 0")),
        "{}",
        proxy.scrape()
    );
}

#[tokio::test]
async fn a_grpc_client_hears_unavailable_when_all_was_refused() {
    let (server, _) = endpoint(vec![REFUSED; 10]).await;
    let mut route = route("grpc", vec![rule("/", "shop/web:80")]);
    route.kind = RouteKind::Grpc;
    route.key = "GRPCRoute/shop/grpc".into();
    route.rules[0].matches[0].path = fairway_config::model::PathMatch::Grpc(Default::default());
    let mut resources = vec![http(), Resource::Route(Arc::new(route))];
    resources.extend(backend("shop/web:80", AppProtocol::Http2, &[server.address]));
    let proxy = Proxy::start(resources);
    let mut client = http2(proxy.address()).await;
    let request = Request::post("http://shop/a.B/C")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(full("message"))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    let status = response.headers().get("grpc-status").cloned();
    let trailers = response.into_body().collect().await.unwrap().trailers().cloned();
    let status = status.or_else(|| trailers.and_then(|it| it.get("grpc-status").cloned()));
    assert_eq!(status.unwrap(), "14");
}

#[tokio::test]
async fn a_body_that_is_not_all_remembered_is_not_sent_again_in_part() {
    let body = "x".repeat(300_000);
    let (server, seen) = endpoint(vec![]).await;
    let refuses = Server::raw(|stream, _| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let mut body = request.into_body();
            tokio::spawn(async move {
                let mut read = 0;
                while let Some(Ok(chunk)) = body.data().await {
                    let _ = body.flow_control().release_capacity(chunk.len());
                    read += chunk.len();
                    if read > 150_000 {
                        break;
                    }
                }
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            });
        }
    })
    .await;
    let proxy = Proxy::start_with(simple(AppProtocol::Http2, &[refuses.address]), |settings| {
        settings.limits.replay_bytes = 64 * 1024;
    });
    assert_eq!(status(&exchange(proxy.address(), post(&body)).await), 503);
    drop(proxy);
    let proxy = Proxy::start(simple(AppProtocol::Http2, &[server.address]));
    assert_eq!(status(&exchange(proxy.address(), post(&body)).await), 200);
    assert_eq!(seen.lock().unwrap().iter().map(String::len).collect::<Vec<_>>(), [300_000]);
}
