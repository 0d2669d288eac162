//! W3C Trace Context: what a client sends is what the endpoint gets, byte for byte, whatever the proxy does in between.

use crate::support;
use fairway_config::model::{AppProtocol, BackendTarget, Filter, Fraction, Mirror, Retry, Rule};
use http::{Request, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::backend::{Server, echo, full};
use support::wire::{LONG, exchange, http2};
use support::*;
use tokio::sync::mpsc;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// Two members, one with a space that may stay, in two fields: the order counts.
const STATE: [&str; 2] = ["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE ", "vendor@system=opaque:1/2;3"];

/// What an endpoint saw of it.
type Trace = (Vec<String>, Vec<String>);

/// An endpoint that tells what it saw; its first answer is 503 if it fails.
async fn endpoint(version: u8, fails: bool) -> (Server, mpsc::UnboundedReceiver<Trace>) {
    let (seen, told) = mpsc::unbounded_channel();
    let fails = Arc::new(AtomicBool::new(fails));
    let server = Server::http(version, move |request| {
        let all = |name: &str| {
            let values = request.headers().get_all(name).into_iter();
            values.map(|it| String::from_utf8(it.as_bytes().to_vec()).unwrap()).collect()
        };
        seen.send((all("traceparent"), all("tracestate"))).unwrap();
        let failed = fails.swap(false, Ordering::SeqCst);
        async move {
            let mut response = echo(request).await;
            if failed {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
    })
    .await;
    (server, told)
}

async fn next(told: &mut mpsc::UnboundedReceiver<Trace>) -> Trace {
    tokio::time::timeout(LONG, told.recv()).await.unwrap().unwrap()
}

fn sent() -> Trace {
    (vec![PARENT.to_owned()], STATE.map(|it| it.trim_end().to_owned()).to_vec())
}

fn protocol(version: u8) -> AppProtocol {
    if version == 1 { AppProtocol::Http1 } else { AppProtocol::Http2 }
}

/// Sends a request with a trace, and one without.
async fn ask(proxy: &Proxy, version: u8) {
    if version == 1 {
        let head = "GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n";
        let [first, second] = STATE;
        let trace = format!("traceparent: {PARENT}\r\ntracestate: {first}\r\ntracestate: {second}\r\n");
        exchange(proxy.address(), format!("{head}{trace}\r\n")).await;
        exchange(proxy.address(), format!("{head}\r\n")).await;
        return;
    }
    let mut client = http2(proxy.address()).await;
    let mut request = Request::get("http://shop/").header("traceparent", PARENT);
    for it in STATE {
        request = request.header("tracestate", it.trim_end());
    }
    client.send_request(request.body(full("")).unwrap()).await.unwrap();
    client.send_request(Request::get("http://shop/").body(full("")).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_trace_goes_on_as_it_came_between_all_versions_and_none_is_made_up() {
    for (client, server) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let (endpoint, mut told) = endpoint(server, false).await;
        let proxy = Proxy::start(simple(protocol(server), &[endpoint.address]));
        ask(&proxy, client).await;
        assert_eq!(next(&mut told).await, sent(), "{client} to {server}");
        assert_eq!(next(&mut told).await, (vec![], vec![]), "{client} to {server}");
    }
}

#[tokio::test]
async fn a_retry_and_a_mirror_carry_the_same_trace() {
    let (main, mut told) = endpoint(1, true).await;
    let (shadow, mut mirrored) = endpoint(2, false).await;
    let target = BackendTarget::Backend("shop/shadow:80".into());
    let mirror = Filter::Mirror(Mirror { target, fraction: Fraction::ALL });
    let retry = Retry {
        attempts: 1,
        backoff: Some(Duration::from_millis(1)),
        codes: vec![StatusCode::SERVICE_UNAVAILABLE],
        connection_errors: true,
    };
    let rule = Rule { retry: Some(retry), filters: vec![mirror], ..rule("/", "shop/web:80") };
    let mut resources = with_rule(rule, AppProtocol::Http1, &[main.address]);
    resources.extend(backend("shop/shadow:80", AppProtocol::Http2, &[shadow.address]));
    let proxy = Proxy::start(resources);
    ask(&proxy, 1).await;
    assert_eq!(next(&mut told).await, sent(), "the first try");
    assert_eq!(next(&mut told).await, sent(), "the second");
    assert_eq!(next(&mut mirrored).await, sent());
}
