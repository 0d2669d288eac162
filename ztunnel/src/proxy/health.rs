//! The one call of a gRPC probe: HTTP/2 ends here on both sides, so that nothing but the health check reaches the program.

use super::probe::Failure;
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

/// The longest that a check takes: kubelet's own limit is a second unless the spec says more.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
const MESSAGE_LIMIT: usize = 4 << 10;
const ANSWER_LIMIT: usize = 64 << 10;

/// `said` is what has been read of the client already.
pub(super) async fn check(
    near: TcpStream,
    said: Vec<u8>,
    program: TcpStream,
    probes: &[ProbeAction],
    destination: SocketAddr,
) -> Result<(), Failure> {
    let (read, write) = near.into_split();
    let near = tokio::io::join(Cursor::new(said).chain(read), write);
    let mut serving = h2::server::Builder::new();
    serving.max_concurrent_streams(1).max_header_list_size(8 << 10).max_send_buffer_size(ANSWER_LIMIT);
    let mut server = serving.handshake::<_, Bytes>(near).await.map_err(of_client)?;
    let Some(call) = server.accept().await else { return Ok(()) };
    let (request, mut respond) = call.map_err(of_client)?;
    let calling = call_program(request, &mut respond, program, probes, destination);
    let outcome = tokio::select! {
        outcome = calling => outcome,
        // The connection is served by asking it for the next call. There is none: kubelet asks once.
        next = server.accept() => Err(match next {
            Some(Ok(_)) => Failure::Refused(ProbeRefusal::new(probes, "asks more than once".to_owned())),
            Some(Err(error)) => of_client(error),
            None => Failure::Client(io::ErrorKind::UnexpectedEof.into()),
        }),
    };
    if outcome.is_err() {
        respond.send_reset(Reason::REFUSED_STREAM);
    }
    drop(respond);
    // What is under way is written; no other call is taken.
    server.graceful_shutdown();
    while let Some(Ok((_, mut respond))) = server.accept().await {
        respond.send_reset(Reason::REFUSED_STREAM);
    }
    outcome
}

/// Asks the program in the client's place, and answers what it answers.
async fn call_program(
    request: Request<RecvStream>,
    respond: &mut SendResponse<Bytes>,
    program: TcpStream,
    probes: &[ProbeAction],
    destination: SocketAddr,
) -> Result<(), Failure> {
    let (head, body) = request.into_parts();
    let message = match whole(body, MESSAGE_LIMIT).await {
        Ok((message, _)) => message,
        Err(Some(error)) => return Err(of_client(error)),
        Err(None) => {
            let asked = format!("asks with more than {MESSAGE_LIMIT} bytes");
            return Err(Failure::Refused(ProbeRefusal::new(probes, asked)));
        }
    };
    let message = health_check(probes, &head.method, head.uri.path(), &message).map_err(Failure::Refused)?;
    let (mut client, mut connection) = h2::client::handshake(program).await.map_err(of_program)?;
    let answering = async {
        let (answer, mut to_program) =
            client.send_request(to_program(destination), false).map_err(of_program)?;
        to_program.send_data(message.into(), true).map_err(of_program)?;
        relay(answer, respond).await
    };
    tokio::select! {
        outcome = answering => outcome,
        ended = &mut connection => Err(match ended {
            Ok(()) => Failure::Program(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => of_program(error),
        }),
    }
}

fn to_program(destination: SocketAddr) -> Request<()> {
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
    let (head, body) = answer.await.map_err(of_program)?.into_parts();
    let is_over = body.is_end_stream();
    let (message, trailers) = match (is_over, body) {
        (true, _) => (Bytes::new(), None),
        (false, body) => whole(body, ANSWER_LIMIT).await.map_err(|error| match error {
            Some(error) => of_program(error),
            None => Failure::Program(io::Error::other(format!("it answers more than {ANSWER_LIMIT} bytes"))),
        })?,
    };
    let mut to_client = respond.send_response(Response::from_parts(head, ()), is_over).map_err(of_client)?;
    if !is_over {
        to_client.send_data(message, trailers.is_none()).map_err(of_client)?;
    }
    if let Some(trailers) = trailers {
        to_client.send_trailers(trailers).map_err(of_client)?;
    }
    Ok(())
}

/// A body and its trailers; no error means that it is longer than that.
async fn whole(
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

fn of_client(error: h2::Error) -> Failure {
    Failure::Client(io::Error::other(error))
}

fn of_program(error: h2::Error) -> Failure {
    Failure::Program(io::Error::other(error))
}

#[cfg(test)]
mod tests;
