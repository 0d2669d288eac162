//! A client's HTTP connection, from its first request to its end.

use super::{Client, relay};
use crate::body::ResponseBody;
use crate::listen::connection::{Connection, Order, Stage};
use crate::listen::detect::Version;
use crate::listen::wire::{Ahead, Wire};
use crate::transport::Transport;
use fairway_runtime::drain::Phase;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// What a client may send in one stream before an endpoint takes it.
const STREAM_WINDOW: u32 = 256 * 1024;
/// And in all streams of a connection.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// What a client is told that does not finish its request's head (RFC 9110 §15.5.9).
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\ncontent-length: 32\r\nconnection: close\r\n\r\nThe request came in too slowly.\n";

/// How long a client may take to hear the end of a connection.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs the streams of an HTTP/2 connection on the worker's thread. One whose client does not get on is dropped, and so reset
/// (CANCEL), while the others go on.
#[derive(Clone)]
struct Streams(Rc<Connection>);

/// Serves a connection to its end.
pub async fn serve_http(client: Rc<Client>, io: Transport, ahead: Ahead) {
    match client.version {
        Version::Http1 => serve_http1(client, io, ahead).await,
        Version::Http2 => serve_http2(client, io, ahead).await,
    }
}

fn service(
    client: &Rc<Client>,
) -> impl Service<
    Request<Incoming>,
    Response = http::Response<ResponseBody>,
    Error = Infallible,
    Future = impl Future<Output = Result<http::Response<ResponseBody>, Infallible>> + use<>,
> + use<> {
    let client = client.clone();
    service_fn(move |request| super::serve(client.clone(), request))
}

async fn serve_http1(client: Rc<Client>, io: Transport, ahead: Ahead) {
    let connection = client.connection.clone();
    connection.set_stage(Stage::Http1);
    let limits = client.worker.settings.limits;
    let wire = Wire::http1(io, ahead, connection.sight.clone());
    let mut builder = http1::Builder::new();
    // Slow heads and idle connections are found by the sweep, without a timer for each request.
    builder
        .header_read_timeout(None)
        .max_buf_size(limits.head_bytes.max(8192))
        .max_header_size(limits.head_bytes);
    let mut serving = builder.serve_connection(TokioIo::new(wire), service(&client));
    let mut obeyed = Order::None;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut serving => break ended,
            order = connection.ordered(obeyed) => {
                obeyed = order;
                match order {
                    Order::None => {}
                    Order::Finish => std::pin::Pin::new(&mut serving).graceful_shutdown(),
                    Order::TooSlow if !connection.sight.is_blocked() => {
                        let mut io = serving.into_parts().io.into_inner();
                        let telling = async {
                            let _ = io.write_all(TOO_SLOW).await;
                            let _ = io.shutdown().await;
                        };
                        let _ = timeout(LAST_WORDS, telling).await;
                        return;
                    }
                    // In the middle of a response nothing else may be said, and nobody may take its beginning for the whole.
                    Order::TooSlow | Order::Stop => {
                        return serving.into_parts().io.into_inner().reset_on_close();
                    }
                }
            }
        }
    };
    let switch = client.switch.borrow_mut().take();
    let parts = serving.into_parts();
    let mut io = parts.io.into_inner();
    match (ended, switch) {
        (Ok(()), Some(switch)) => {
            connection.set_stage(Stage::Raw);
            relay(&connection, io.unwatch(), parts.read_buf, switch).await;
        }
        _ => {
            let _ = timeout(LAST_WORDS, io.shutdown()).await;
        }
    }
}

async fn serve_http2(client: Rc<Client>, io: Transport, ahead: Ahead) {
    let connection = client.connection.clone();
    connection.set_stage(Stage::Http2);
    let limits = client.worker.settings.limits;
    let wire = Wire::http2(io, ahead, connection.sight.clone());
    let mut builder = http2::Builder::new(Streams(connection.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // Streams a client opens and resets at once (CVE-2023-44487): the connection ends at the 21st that waits.
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(wire), service(&client)));
    let mut obeyed = Order::None;
    if client.worker.connections.phase() >= Phase::Draining {
        connection.tell(Order::Finish);
    }
    loop {
        tokio::select! {
            biased;
            _ = serving.as_mut() => return,
            order = connection.ordered(obeyed) => {
                obeyed = order;
                match order {
                    Order::None => {}
                    Order::Finish => serving.as_mut().graceful_shutdown(),
                    Order::TooSlow | Order::Stop => return,
                }
            }
        }
    }
}

// === impl Streams ===

impl<F: Future + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let connection = self.0.clone();
        tokio::task::spawn_local(async move {
            let mut stream = pin!(stream);
            let mut place = None;
            poll_fn(|cx| {
                if place.is_some_and(|place| connection.paces.is_stopped(place)) {
                    return Poll::Ready(());
                }
                let ended = stream.as_mut().poll(cx).map(drop);
                // Its request begins when it is first polled.
                if place.is_none() {
                    place = connection.paces.take_begun();
                    if let Some(place) = place {
                        connection.paces.run_by(place, cx.waker());
                    }
                }
                ended
            })
            .await;
        });
    }
}
