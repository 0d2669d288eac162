//! Endpoints that send what costs the proxy and carries nothing.

use crate::support;
use fairway_config::model::AppProtocol;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::backend::Server;
use support::wire::{get, status};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A frame of a connection.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, 0][..], payload].concat()
}

/// An endpoint that never answers, and sends a frame without end. It counts how many were taken.
async fn flooding(flood: Vec<u8>, taken: Arc<AtomicUsize>) -> Server {
    Server::raw(move |stream, _| {
        let (flood, taken) = (flood.repeat(64), taken.clone());
        async move {
            let (mut read, mut write) = stream.into_split();
            let mut preface = [0; 24];
            read.read_exact(&mut preface).await.unwrap();
            tokio::spawn(async move { copy(&mut read, &mut sink()).await });
            write.write_all(SETTINGS).await.unwrap();
            while write.write_all(&flood).await.is_ok() {
                taken.fetch_add(64, Ordering::SeqCst);
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_endpoint_that_floods_with_control_frames_is_left_and_the_client_hears_it() {
    for (what, flood) in [
        ("PING", frame(6, 0, &[0; 8])),
        ("PING ACK", frame(6, 1, &[0; 8])),
        ("SETTINGS", frame(4, 0, &[])),
        ("WINDOW_UPDATE", frame(8, 0, &[0, 0, 0, 1])),
        ("unknown", frame(0xfa, 0, &[0; 16])),
    ] {
        let taken = Arc::new(AtomicUsize::new(0));
        let server = flooding(flood, taken.clone()).await;
        let proxy = Proxy::start(simple(AppProtocol::Http2, &[server.address]));
        let answer = tokio::time::timeout(Duration::from_secs(10), get(proxy.address(), "/")).await;
        let answer = answer.unwrap_or_else(|_| panic!("{what}: no answer, {taken:?} frames were taken"));
        assert!([502, 503].contains(&status(&answer)), "{what}: {answer}");
        assert!(taken.load(Ordering::SeqCst) < 1 << 20, "{what}: {taken:?}");
    }
}
