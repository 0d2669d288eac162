//! Small clients over any stream that is connected already: how it was connected, from where and over which TLS, is the
//! caller's to say.

use crate::Seen;
use crate::proto::echo_client::EchoClient;
use crate::websocket;
use base64::Engine;
use bytes::Bytes;
use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io;
use std::sync::{Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Channel, Endpoint};

/// What the clients go over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// One HTTP connection. The connection is driven by a task of the runtime it was made in.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct CollectedResponse {
    /// The status of the response.
    pub status: StatusCode,
    /// The headers of the response.
    pub headers: HeaderMap,
    /// The whole body of the response.
    pub body: Bytes,
    /// The trailers, if there were any.
    pub trailers: Option<HeaderMap>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Of the connection or the protocol.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The request cannot be made.
    #[error("{0}")]
    Request(#[from] http::Error),
    /// The gRPC connection could not be made or broke.
    #[error("{0}")]
    Grpc(#[from] tonic::transport::Error),
    /// The server does not want to become a WebSocket.
    #[error("no WebSocket: {0}")]
    NotUpgraded(StatusCode),
    /// The body is not what an echo says.
    #[error("not an echo: {0}")]
    NotAnEcho(#[from] serde_json::Error),
}

// === impl Client ===

impl Client {
    /// Speaks HTTP/1.1 on a stream that is connected.
    pub async fn http1(stream: impl Stream) -> Result<Self, ClientError> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender: Sender::Http1(sender) })
    }

    /// Speaks HTTP/2 with prior knowledge.
    pub async fn http2(stream: impl Stream) -> Result<Self, ClientError> {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender: Sender::Http2(sender) })
    }

    /// GETs a path with its query from a host.
    pub async fn get(&mut self, host: &str, path: &str) -> Result<CollectedResponse, ClientError> {
        self.send(Request::builder().uri(format!("http://{host}{path}")).body(Bytes::new())?).await
    }

    /// Sends a request, whose URI has a scheme, a host and a path, and reads the whole answer.
    pub async fn send(&mut self, request: Request<Bytes>) -> Result<CollectedResponse, ClientError> {
        CollectedResponse::read(self.start(request).await?).await
    }

    /// Sends a request, and gives the answer as soon as it begins.
    pub async fn start(&mut self, request: Request<Bytes>) -> Result<Response<Incoming>, ClientError> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                Ok(sender.send_request(origin_form(request)?.map(Full::new)).await?)
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                let (mut head, body) = request.into_parts();
                head.version = Version::HTTP_2;
                Ok(sender.send_request(Request::from_parts(head, Full::new(body))).await?)
            }
        }
    }

    /// Whether the connection takes no more requests.
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
}

// === impl CollectedResponse ===

impl CollectedResponse {
    /// Reads an answer to its end.
    pub async fn read(response: Response<Incoming>) -> Result<Self, ClientError> {
        let (head, body) = response.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned();
        Ok(Self { status: head.status, headers: head.headers, body: collected.to_bytes(), trailers })
    }

    /// What the server says it saw.
    pub fn seen(&self) -> Result<Seen, ClientError> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The pod that answered.
    pub fn pod(&self) -> Option<&str> {
        self.headers.get("x-echo-pod")?.to_str().ok()
    }
}

/// A gRPC client of the echo. `authority` is the host it calls.
pub async fn grpc(stream: impl Stream, authority: &str) -> Result<EchoClient<Channel>, ClientError> {
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))?;
    // There is one connection; when it is gone the client is of no more use.
    let stream = Mutex::new(Some(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::future::ready(
            stream.map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)),
        )
    });
    Ok(EchoClient::new(endpoint.connect_with_connector(connector).await?))
}

/// Becomes a WebSocket: use it with [`websocket::read_frame`] and [`websocket::write_frame`].
pub async fn websocket(
    stream: impl Stream,
    host: &str,
    path: &str,
) -> Result<TokioIo<hyper::upgrade::Upgraded>, ClientError> {
    // Meant to be random so that caches are not fooled; nothing caches here.
    let key = base64::engine::general_purpose::STANDARD.encode(b"fairway-echo-key");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(path)
        .header(HOST, host)
        .header(UPGRADE, "websocket")
        .header(CONNECTION, "upgrade")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS
        || accepted != Some(websocket::accept_key(key.as_bytes()).as_bytes())
    {
        return Err(ClientError::NotUpgraded(response.status()));
    }
    Ok(TokioIo::new(hyper::upgrade::on(response).await?))
}

/// HTTP/1.1 has the host in a header (RFC 9112 section 3.2.1).
fn origin_form(mut request: Request<Bytes>) -> Result<Request<Bytes>, ClientError> {
    if request.method() == Method::CONNECT {
        return Ok(request);
    }
    if let Some(authority) = request.uri().authority()
        && !request.headers().contains_key(HOST)
    {
        let host = HeaderValue::from_str(authority.as_str()).map_err(http::Error::from)?;
        request.headers_mut().insert(HOST, host);
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse().map_err(http::Error::from)?;
    Ok(request)
}
