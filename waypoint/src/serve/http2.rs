//! A client's HTTP/2 connection, from its preface to its end.
//!
//! On h2 itself: hyper's server has no way to send a 1xx, which clients that say `Expect: 100-continue` wait for.

use super::relay_tunnel;
use crate::body::{BodyError, ClientBody, Heard, Http2Body, Interim, InterimResponses};
use crate::connection::{ConnectionState, Order};
use crate::pipeline::ResponseBody;
use crate::pipeline::{self, Client};
use crate::settings::Limits;
use crate::transport::Transport;
use crate::wire::{ReadAhead, Wire};
use bytes::Bytes;
use fairway_hbone::Tunnel;
use fairway_runtime::drain::Phase;
use fairway_runtime::task;
use h2::server::{Builder, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::Body as _;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// What a client may send in one stream before an endpoint takes it.
const STREAM_WINDOW: u32 = 256 * 1024;
/// And in all streams of a connection: half as much again as all may have outstanding together, since h2 opens it when a
/// third was read. What one endpoint does not take never holds up what goes to another (RFC 9113 §5.2.1).
const fn connection_window(streams: u32) -> u32 {
    let outstanding = (streams as u64).saturating_mul(STREAM_WINDOW as u64);
    let window = outstanding / 2 * 3;
    if window > LARGEST_WINDOW as u64 { LARGEST_WINDOW } else { window as u32 }
}
/// The largest window that HTTP/2 allows (RFC 9113 §6.9.1).
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// What is buffered for a stream before its client takes it.
const SEND_BUFFER: usize = 400 * 1024;
/// How long after a PING the next one is sent.
const PING_EVERY: Duration = Duration::from_secs(60);
/// For the answer to a PING.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves a connection to its end.
pub async fn serve(client: Rc<Client>, io: Transport, ahead: ReadAhead) {
    let connection = client.connection.clone();
    connection.set_state(ConnectionState::Http2);
    let wire = Wire::http2(io, ahead, connection.wire_state.clone());
    let handshake = builder(&client.limits()).handshake::<_, Bytes>(wire);
    let mut accepting = tokio::select! {
        biased;
        accepting = handshake => match accepting {
            Ok(accepting) => accepting,
            Err(_) => return,
        },
        _ = connection.ordered(Order::Finish) => return,
    };
    let Some(pings) = accepting.ping_pong() else { return };
    let mut is_dead = pin!(is_dead(pings));
    let interim = InterimResponses::default();
    let mut obeyed = Order::None;
    if client.worker.connections.phase() >= Phase::Draining {
        connection.tell(Order::Finish);
    }
    loop {
        tokio::select! {
            biased;
            accepted = accepting.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let heard = interim.of_stream(respond.stream_id().as_u32());
                    let client = client.clone();
                    task::spawn_local(|| run_stream(client, request, respond, heard));
                }
                Some(Err(error)) => return tracing::debug!(%error, "an HTTP/2 connection ended"),
                None => return,
            },
            order = connection.ordered(obeyed) => {
                obeyed = order;
                match order {
                    Order::None => {}
                    Order::Finish => accepting.graceful_shutdown(),
                    Order::TooSlow | Order::Stop => return,
                }
            }
            streams = interim.said() => connection.paces.wake(&streams),
            () = &mut is_dead => return,
        }
    }
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(readable_head(limits))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(connection_window(limits.streams))
        .max_send_buffer_size(SEND_BUFFER)
        // Streams that this side resets for what is wrong with them (CVE-2025-8671): the connection ends at the 1025th.
        .max_local_error_reset_streams(Some(1024))
        // Streams a client opens and resets at once (CVE-2023-44487): the connection ends at the 21st that waits.
        .max_pending_accept_reset_streams(20)
        // WebSockets (RFC 8441).
        .enable_connect_protocol();
    builder
}

/// The largest head that is read. Of a larger one h2 answers the stream itself, and knows nothing of gRPC: so twice of what is served
/// is read, and [`pipeline`] refuses it.
fn readable_head(limits: &Limits) -> u32 {
    u32::try_from(limits.head_bytes.saturating_mul(2)).unwrap_or(u32::MAX)
}

/// Runs a stream. One whose client does not get on is dropped, and so reset (CANCEL), while the others go on.
async fn run_stream(
    client: Rc<Client>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    heard: Heard,
) {
    let (connection, id) = (client.connection.clone(), respond.stream_id().as_u32());
    // Made where it stays: it is large, and a copy of it would cost as much as the rest of a request.
    let mut stream = pin!(serve_stream(client, request, respond, heard));
    let mut place = None;
    poll_fn(|cx| {
        if place.is_some_and(|place| connection.paces.is_stopped(place)) {
            return Poll::Ready(());
        }
        let ended = stream.as_mut().poll(cx);
        // Its request begins when it is first polled.
        if place.is_none() {
            place = connection.paces.take_begun();
            if let Some(place) = place {
                connection.paces.run_by(place, id, cx.waker());
            }
        }
        ended
    })
    .await;
}

/// Ready when the client does not answer a PING.
async fn is_dead(mut pings: PingPong) {
    loop {
        sleep(PING_EVERY).await;
        if !matches!(timeout(PING_TIMEOUT, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// Serves one stream. It ends with its client: a reset ends what was begun for it.
async fn serve_stream(
    client: Rc<Client>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    heard: Heard,
) {
    let is_head = request.method() == Method::HEAD;
    let interim = heard.interim();
    let (request, stream) = received(request, &interim);
    let mut serving = pin!(pipeline::serve(client, request, Some(interim)));
    let served = poll_fn(|cx| {
        let served = serving.as_mut().poll(cx);
        for (status, headers) in heard.take() {
            let mut head = Response::new(());
            (*head.status_mut(), *head.headers_mut()) = (status, headers);
            // The client may be gone.
            let _ = respond.send_informational(head);
        }
        match served {
            Poll::Ready(Ok(response)) => Poll::Ready(Some(response)),
            Poll::Pending if respond.poll_reset(cx).is_pending() => Poll::Pending,
            _ => Poll::Ready(None),
        }
    });
    let Some(response) = served.await else { return };
    let (parts, mut body) = response.into_parts();
    let mut head = Response::from_parts(parts, ());
    let may_have_content = may_have_content(head.status());
    complete(head.headers_mut(), &body, may_have_content);
    let switch = body.take_switch();
    let is_over = is_head || !may_have_content || body.is_end_stream();
    match (respond.send_response(head, is_over && switch.is_none()), switch, stream) {
        (Err(error), _, _) => {
            tracing::debug!(%error, "a response could not be sent");
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
        (Ok(to), Some(switch), Some(from)) => relay_tunnel(Tunnel::from_streams(to, from), switch).await,
        (Ok(to), _, _) if !is_over => {
            if let Err(error) = send(body, to).await {
                tracing::debug!(%error, "a client does not want the rest of a response");
            }
        }
        _ => {}
    }
}

/// The request, and of a CONNECT the stream that is no body.
fn received(request: Request<RecvStream>, interim: &Interim) -> (Request<ClientBody>, Option<RecvStream>) {
    let (parts, stream) = request.into_parts();
    if parts.method == Method::CONNECT {
        return (Request::from_parts(parts, ClientBody::Nothing), Some(stream));
    }
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    let expects = parts.headers.contains_key(EXPECT).then(|| interim.clone());
    let body = ClientBody::Http2(Http2Body::new(stream, length, expects));
    (Request::from_parts(parts, body), None)
}

/// Whether a response with this status may have content, whoever made it (RFC 9110 §6.4.1). To a HEAD none has.
fn may_have_content(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Names that HTTP/2 does not have (RFC 9113 §8.2.2). Few responses have one of them: one look is cheaper than six.
static OF_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
];

/// Takes off what HTTP/2 does not have, and says what it needs.
fn complete(headers: &mut HeaderMap, body: &ResponseBody, may_have_content: bool) {
    if headers.keys().any(|name| OF_CONNECTION.contains(name)) {
        for name in &OF_CONNECTION {
            headers.remove(name);
        }
    }
    headers.entry(DATE).or_insert_with(super::date::now);
    if may_have_content
        && !body.is_end_stream()
        && let Some(length) = body.size_hint().exact()
    {
        headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
}

/// Sends a body as its client takes it.
async fn send(body: ResponseBody, mut to: SendStream<Bytes>) -> Result<(), h2::Error> {
    let mut body = pin!(body);
    loop {
        let frame = poll_fn(|cx| match to.poll_reset(cx) {
            Poll::Ready(reset) => Poll::Ready(Err(reset.map_or_else(|it| it, h2::Error::from))),
            Poll::Pending => body.as_mut().poll_frame(cx).map(Ok),
        });
        let frame = match frame.await? {
            None => return to.send_data(Bytes::new(), true),
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                tracing::debug!(%error, "a body broke off");
                to.send_reset(reason_of(&error));
                return Ok(());
            }
        };
        match frame.into_data() {
            Ok(data) => {
                let is_over = body.is_end_stream();
                if !data.is_empty() {
                    // No more than h2 needs to ask the client for room: it buffers the rest.
                    to.reserve_capacity(1);
                    poll_fn(|cx| poll_room(&mut to, cx)).await?;
                }
                to.send_data(data, is_over)?;
                if is_over {
                    return Ok(());
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    to.reserve_capacity(0);
                    return to.send_trailers(trailers);
                }
            }
        }
    }
}

fn poll_room(to: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
    if let Poll::Ready(reset) = to.poll_reset(cx) {
        return Poll::Ready(Err(reset.map_or_else(|it| it, h2::Error::from)));
    }
    while to.capacity() == 0 {
        match ready!(to.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(error)),
            None => return Poll::Ready(Err(Reason::CANCEL.into())),
        }
    }
    Poll::Ready(Ok(()))
}

/// What a client is told of a body that broke off: the endpoint's own word, if it said one.
fn reason_of(error: &BodyError) -> Reason {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(reason) = error.downcast_ref::<h2::Error>().and_then(h2::Error::reason) {
            // A stream that is broken off was not ended without an error, and was not refused before it began.
            let is_untrue = matches!(reason, Reason::NO_ERROR | Reason::REFUSED_STREAM);
            return if is_untrue { Reason::INTERNAL_ERROR } else { reason };
        }
        source = error.source();
    }
    Reason::INTERNAL_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_gone_without_a_word_is_found_by_ping() {
        let (near, far) = tokio::io::duplex(64 << 10);
        let serving = builder(&Limits::default()).handshake::<_, Bytes>(far);
        let (client, accepting) = tokio::join!(h2::client::handshake(near), serving);
        // After its preface the client's connection is not driven any more.
        let _held = client.unwrap();
        let mut accepting = accepting.unwrap();
        let pings = accepting.ping_pong().unwrap();
        let began = Instant::now();
        tokio::select! {
            () = is_dead(pings) => {}
            _ = accepting.accept() => panic!("nothing was asked"),
        }
        assert_eq!(began.elapsed().as_secs(), (PING_EVERY + PING_TIMEOUT).as_secs());
    }
}
