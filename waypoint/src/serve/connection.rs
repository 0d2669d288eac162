//! A client's HTTP connection, from its first request to its end.

use super::lingering::LAST_WORDS;
use super::{http2, lingering, relay};
use crate::body::ClientBody;
use crate::connection::{Connection, ConnectionState, Order};
use crate::pipeline::ResponseBody;
use crate::pipeline::{self, Client, Closed};
use crate::transport::Transport;
use crate::wire::{ReadAhead, Version, Wire, detect};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::future::Future;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// What a client is told that does not finish its request's head (RFC 9110 §15.5.9).
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\ncontent-length: 32\r\nconnection: close\r\n\r\nThe request came in too slowly.\n";

/// Reads the first bytes of a connection, and which version of HTTP they are. None if it ends, or is ended, before that is known.
pub async fn detect_http(connection: &Connection, io: &mut Transport) -> Option<(Version, ReadAhead)> {
    tokio::select! {
        detected = detect(io, &connection.wire_state) => detected.ok().flatten(),
        _ = connection.ordered(Order::None) => None,
    }
}

/// Serves a connection to its end.
pub async fn serve_http(client: Rc<Client>, io: Transport, ahead: ReadAhead) {
    match client.version {
        Version::Http1 => serve_http1(client, io, ahead).await,
        Version::Http2 => http2::serve(client, io, ahead).await,
    }
}

fn service(
    client: &Rc<Client>,
) -> impl Service<
    Request<Incoming>,
    Response = http::Response<ResponseBody>,
    Error = Closed,
    Future = impl Future<Output = Result<http::Response<ResponseBody>, Closed>> + use<>,
> + use<> {
    let client = client.clone();
    service_fn(move |request: Request<Incoming>| {
        pipeline::serve(client.clone(), request.map(ClientBody::Http1), None)
    })
}

async fn serve_http1(client: Rc<Client>, io: Transport, ahead: ReadAhead) {
    let connection = client.connection.clone();
    connection.set_state(ConnectionState::Http1);
    let limits = client.limits();
    let wire = Wire::http1(io, ahead, connection.wire_state.clone());
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
                    Order::TooSlow if !connection.wire_state.is_blocked() => {
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
    let io = parts.io.into_inner();
    match (ended, switch) {
        (Ok(()), Some(switch)) => {
            connection.set_state(ConnectionState::Raw);
            relay(&connection, io.unwatch(), parts.read_buf, switch).await;
        }
        (Err(error), _) if error.source().is_some_and(|source| source.is::<Closed>()) => io.reset_on_close(),
        // An HTTP/1.0 client that sees the end takes it for the end of the body.
        (Err(error), _) if error.is_user() && client.is_http10.get() => io.reset_on_close(),
        // Boxed: its state would be in every connection.
        _ => Box::pin(lingering::close(&connection, io)).await,
    }
}
