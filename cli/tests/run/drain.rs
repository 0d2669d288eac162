//! SIGTERM under load fails no request.

use crate::shop::Shop;
use fairway_echo::client::Client;
use http::StatusCode;
use http::header::CONNECTION;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::net::TcpStream;

const CLIENTS: usize = 8;

/// What the clients of a load know of each other.
#[derive(Default)]
struct Load {
    /// A refused connection is an end, not a failure.
    is_ending: AtomicBool,
    answers: AtomicU64,
    /// How often an answer told the client to go elsewhere.
    told_to_close: AtomicU64,
}

/// Asks on kept connections until nobody listens any more; says what went wrong. Half of the clients take a new connection for
/// each request, since those meet the closing of the listener more often.
async fn ask_until_refused(load: Arc<Load>, gateway: SocketAddr, is_short: bool) -> Result<(), String> {
    loop {
        let stream = match TcpStream::connect(gateway).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return match load.is_ending.load(Ordering::SeqCst) {
                    true => Ok(()),
                    false => Err("refused before the end".to_owned()),
                };
            }
            Err(error) => return Err(format!("no connection: {error}")),
        };
        let mut client = Client::http1(stream).await.map_err(|error| format!("no HTTP: {error}"))?;
        loop {
            let number = load.answers.fetch_add(1, Ordering::SeqCst);
            let path = if number.is_multiple_of(7) { "/?delay=150ms" } else { "/" };
            let answer = client.get("books.example", path).await;
            let answer = answer.map_err(|error| format!("request {number} has no answer: {error:?}"))?;
            if answer.status != StatusCode::OK {
                return Err(format!("request {number}: {}", answer.status));
            }
            let is_told = answer.headers.get(CONNECTION).is_some_and(|it| it == "close");
            load.told_to_close.fetch_add(is_told.into(), Ordering::SeqCst);
            if is_told || is_short {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_fails_no_request() {
    let shop = Shop::open().await;
    shop.write("route.yaml", &shop.route("books", "one"));
    let mut program = shop.run(&["--drain-linger", "1s", "--drain-grace", "10s"]).await;
    let load = Arc::new(Load::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(ask_until_refused(load.clone(), shop.gateway, number % 2 == 0)))
        .collect();
    program.eventually("load", async |_| load.answers.load(Ordering::SeqCst) > 500).await;

    load.is_ending.store(true, Ordering::SeqCst);
    program.terminate();
    let mut failures = Vec::new();
    for client in clients {
        failures.extend(client.await.unwrap().err());
    }
    let status = program.end().await;
    let answers = load.answers.load(Ordering::SeqCst);
    assert!(failures.is_empty(), "{answers} requests: {failures:?}; the log:\n{}", program.log());
    assert!(
        load.told_to_close.load(Ordering::SeqCst) >= CLIENTS as u64 / 2,
        "kept connections are told to close"
    );
    assert_eq!(status.code(), Some(0), "{}", program.log());
}
