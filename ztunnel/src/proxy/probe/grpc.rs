//! gRPC probes. The tunnel terminates HTTP/2 and makes the health check itself, so that nothing else reaches the application.

use super::Failure;
use crate::decide::{ProbeRefusal, health_check};
use bytes::{Bytes, BytesMut};
use fairway_config::model::ProbeAction;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderValue, Method, Request, Response, Version, header};
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Time for one health check. Kubelet's own timeout is one second by default.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
const MESSAGE_LIMIT: usize = 4 << 10;
const RESPONSE_LIMIT: usize = 64 << 10;

/// Serves one call. `already_read` are the bytes that were read from the client to recognize HTTP/2.
pub(super) async fn check(
    downstream: &mut TcpStream,
    already_read: Vec<u8>,
    application: TcpStream,
    probes: &[ProbeAction],
    destination: SocketAddr,
) -> Result<(), Failure> {
    let (read, write) = downstream.split();
    let downstream = tokio::io::join(Cursor::new(already_read).chain(read), write);
    let mut serving = h2::server::Builder::new();
    serving.max_concurrent_streams(1).max_header_list_size(8 << 10).max_send_buffer_size(RESPONSE_LIMIT);
    let mut server = serving.handshake::<_, Bytes>(downstream).await.map_err(client_error)?;
    let Some(call) = server.accept().await else { return Ok(()) };
    let (request, mut respond) = call.map_err(client_error)?;
    let calling = call_application(request, &mut respond, application, probes, destination);
    let outcome = tokio::select! {
        outcome = calling => outcome,
        // Accepting the next call drives the connection. Kubelet makes only one call.
        next = server.accept() => Err(match next {
            Some(Ok(_)) => Failure::Refused(ProbeRefusal::new(probes, "asks more than once".to_owned())),
            Some(Err(error)) => client_error(error),
            None => Failure::Client(io::ErrorKind::UnexpectedEof.into()),
        }),
    };
    if outcome.is_err() {
        respond.send_reset(Reason::REFUSED_STREAM);
    }
    drop(respond);
    // Pending frames are written; no other call is accepted.
    server.graceful_shutdown();
    while let Some(Ok((_, mut respond))) = server.accept().await {
        respond.send_reset(Reason::REFUSED_STREAM);
    }
    outcome
}

/// Makes the health check in the client's place and relays the response.
async fn call_application(
    request: Request<RecvStream>,
    respond: &mut SendResponse<Bytes>,
    application: TcpStream,
    probes: &[ProbeAction],
    destination: SocketAddr,
) -> Result<(), Failure> {
    let (head, body) = request.into_parts();
    let message = match collect(body, MESSAGE_LIMIT).await {
        Ok((message, _)) => message,
        Err(Some(error)) => return Err(client_error(error)),
        Err(None) => {
            let asked = format!("asks with more than {MESSAGE_LIMIT} bytes");
            return Err(Failure::Refused(ProbeRefusal::new(probes, asked)));
        }
    };
    let message = health_check(probes, &head.method, head.uri.path(), &message).map_err(Failure::Refused)?;
    let (mut client, mut connection) = h2::client::handshake(application).await.map_err(application_error)?;
    let answering = async {
        let (answer, mut to_application) =
            client.send_request(to_application(destination), false).map_err(application_error)?;
        to_application.send_data(message.into(), true).map_err(application_error)?;
        relay(answer, respond).await
    };
    tokio::select! {
        outcome = answering => outcome,
        ended = &mut connection => Err(match ended {
            Ok(()) => Failure::Application(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => application_error(error),
        }),
    }
}

fn to_application(destination: SocketAddr) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    let uri = http::Uri::builder()
        .scheme("http")
        .authority(destination.to_string())
        .path_and_query("/grpc.health.v1.Health/Check");
    *request.uri_mut() = uri.build().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("kube-probe/"));
    request
}

async fn relay(answer: ResponseFuture, respond: &mut SendResponse<Bytes>) -> Result<(), Failure> {
    let (head, body) = answer.await.map_err(application_error)?.into_parts();
    let is_over = body.is_end_stream();
    let (message, trailers) = match (is_over, body) {
        (true, _) => (Bytes::new(), None),
        (false, body) => collect(body, RESPONSE_LIMIT).await.map_err(|error| match error {
            Some(error) => application_error(error),
            None => {
                Failure::Application(io::Error::other(format!("it answers more than {RESPONSE_LIMIT} bytes")))
            }
        })?,
    };
    let mut to_client =
        respond.send_response(Response::from_parts(head, ()), is_over).map_err(client_error)?;
    if !is_over {
        to_client.send_data(message, trailers.is_none()).map_err(client_error)?;
    }
    if let Some(trailers) = trailers {
        to_client.send_trailers(trailers).map_err(client_error)?;
    }
    Ok(())
}

/// Reads a body and its trailers. `Err(None)` if the body is longer than `limit` bytes.
async fn collect(
    mut body: RecvStream,
    limit: usize,
) -> Result<(Bytes, Option<http::HeaderMap>), Option<h2::Error>> {
    let mut whole = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(Some)?;
        body.flow_control().release_capacity(data.len()).map_err(Some)?;
        if whole.len() + data.len() > limit {
            return Err(None);
        }
        whole.extend_from_slice(&data);
    }
    Ok((whole.freeze(), body.trailers().await.map_err(Some)?))
}

fn client_error(error: h2::Error) -> Failure {
    Failure::Client(io::Error::other(error))
}

fn application_error(error: h2::Error) -> Failure {
    Failure::Application(io::Error::other(error))
}

#[cfg(test)]
mod tests;
