//! One HTTP request and its answer.

use crate::behaviour::{Behaviour, BodyWanted, FailFirst};
use crate::grpc::{self, Peer};
use crate::proto::echo_server::EchoServer as GrpcServer;
use crate::server::{Connection, EchoServer};
use crate::websocket;
use crate::{BodySeen, Seen};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, TRAILER};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::fmt::Write;
use tower::Service;

type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, Error>;

const GRPC_PREFIX: &str = "/fairway.echo.v1.Echo/";
const RECORDED_PATH: &str = "/_seen";
const POD: HeaderName = HeaderName::from_static("x-echo-pod");
/// The trailer, and its value: the hash of the request's body.
const HASH: HeaderName = HeaderName::from_static("x-echo-sha256");

pub(crate) async fn answer(
    server: EchoServer,
    connection: Connection,
    request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let pod = HeaderValue::from_str(server.pod())?;
    let mut response = if request.uri().path().starts_with(GRPC_PREFIX) {
        answer_grpc(server, &connection, request).await?
    } else if request.uri().path() == RECORDED_PATH {
        json(StatusCode::OK, &server.recorded())
    } else if websocket::is_upgrade(&request) {
        server.memory().record(seen(&server, &connection, &request));
        websocket::accept(request).map(|empty| empty.map_err(never).boxed_unsync())
    } else {
        answer_http(&server, &connection, request).await?
    };
    response.headers_mut().insert(POD, pod);
    Ok(response)
}

async fn answer_grpc(
    server: EchoServer,
    connection: &Connection,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    server.memory().record(seen(&server, connection, &request));
    request.extensions_mut().insert(Peer(connection.peer));
    let response = GrpcServer::new(grpc::Service::new(server)).call(request).await?;
    Ok(response.map(|body| body.map_err(Error::from).boxed_unsync()))
}

async fn answer_http(
    server: &EchoServer,
    connection: &Connection,
    request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let mut seen = seen(server, connection, &request);
    let wanted = match Behaviour::parse(&seen.query, server.status()) {
        Ok(wanted) => wanted,
        Err(error) => return Ok(text(StatusCode::BAD_REQUEST, error.to_string())),
    };
    if wanted.is_reset {
        server.memory().record(seen);
        connection.reset.notify_one();
        // The connection, and this with it, goes.
        return std::future::pending().await;
    }
    if wanted.body == BodyWanted::Returned {
        server.memory().record(seen);
        tokio::time::sleep(wanted.delay).await;
        return Ok(with_status(wanted.status, request.into_body().map_err(Error::from).boxed_unsync()));
    }
    seen.body = read(request.into_body()).await?;
    server.memory().record(seen.clone());
    tokio::time::sleep(wanted.delay).await;
    if let Some(FailFirst { count, key, status }) = &wanted.fail_first
        && server.memory().is_to_fail(key, *count)
    {
        return Ok(json(*status, &seen));
    }

    let hash = HeaderValue::from_str(&seen.body.sha256)?;
    let mut response = match wanted.body {
        BodyWanted::Size(size) => with_status(wanted.status, filled(size)),
        BodyWanted::Chunks { count, interval } => with_status(wanted.status, chunks(count, interval)),
        BodyWanted::Seen | BodyWanted::Returned => json(wanted.status, &seen),
    };
    if wanted.has_trailers {
        response.headers_mut().insert(TRAILER, HeaderValue::from_static("x-echo-sha256"));
        let trailers = HeaderMap::from_iter([(HASH, hash)]);
        response =
            response.map(|body| body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed_unsync());
    }
    Ok(response)
}

fn seen(server: &EchoServer, connection: &Connection, request: &Request<Incoming>) -> Seen {
    let uri = request.uri();
    let host = uri.authority().map(|authority| authority.as_str().to_owned());
    let host = host.or_else(|| request.headers().get(HOST).map(lossy)).unwrap_or_default();
    Seen {
        pod: server.pod().to_owned(),
        protocol: format!("{:?}", request.version()),
        method: request.method().to_string(),
        host,
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers: pairs(request.headers()),
        peer: connection.peer.to_string(),
        body: BodySeen::default(),
    }
}

/// Reads a body without keeping it.
async fn read(mut body: Incoming) -> Result<BodySeen, Error> {
    let mut hash = Sha256::new();
    let mut seen = BodySeen::default();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                seen.bytes += data.len() as u64;
                hash.update(&data);
            }
            Err(frame) => seen.trailers = frame.trailers_ref().map(pairs).unwrap_or_default(),
        }
    }
    seen.sha256 = hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Ok(seen)
}

pub(crate) fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), lossy(value))).collect()
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_vec_pretty(value) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            let mut response = with_status(status, full(bytes));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn text(status: StatusCode, said: String) -> Response<Body> {
    with_status(status, full(said + "\n"))
}

fn with_status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(never).boxed_unsync()
}

/// So many bytes, never all in memory.
fn filled(size: u64) -> Body {
    const BLOCK: &[u8] = &[b'x'; 16 * 1024];
    let blocks = stream::unfold(size, async |left| {
        let length = left.min(BLOCK.len() as u64);
        let block = BLOCK.get(..length as usize)?;
        (length > 0).then(|| (Ok(Frame::data(Bytes::from_static(block))), left - length))
    });
    StreamBody::new(blocks).boxed_unsync()
}

fn chunks(count: u64, interval: std::time::Duration) -> Body {
    let lines = stream::iter(0..count).then(move |number| async move {
        if number > 0 {
            tokio::time::sleep(interval).await;
        }
        Ok(Frame::data(Bytes::from(format!("chunk {number}\n"))))
    });
    StreamBody::new(lines).boxed_unsync()
}

fn never(never: Infallible) -> Error {
    match never {}
}
