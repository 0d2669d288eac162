//! A minimal client of the API server, for GET, POST and the watch of one object. It starts within a millisecond, because the
//! plugin runs once for each pod.

mod watch;

pub use watch::Change;

use super::credentials::Credentials;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Time for one request, including the connection.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the longest response.
const RESPONSE_LIMIT: usize = 4 << 20;
/// Requests only an object's metadata. The spec is not needed and may be large.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// A client of the API server. It opens a connection for each request.
#[derive(Clone)]
pub struct ApiServer {
    credentials: Credentials,
}

/// Why a request to the API server has failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The connection, the TLS handshake or the exchange has failed, or has taken more than 5 seconds.
    #[error("the API server at {server} cannot be reached: {why}")]
    Unreachable {
        /// `host:port` of the API server.
        server: String,
        /// The error of the socket, of TLS or of HTTP.
        why: String,
    },
    /// The status of the response is not a success.
    #[error("the API server says {status} to {what}{}", .message.as_deref().map(|it| format!(": {it}")).unwrap_or_default())]
    Refused {
        /// The HTTP status of the response.
        status: StatusCode,
        /// Method and path of the request.
        what: String,
        /// `message` of the returned Status object, if there is one.
        message: Option<String>,
    },
    /// The body of a successful response is not the expected object.
    #[error("the API server's answer to {what} is not understood: {why}")]
    Answer {
        /// Method and path of the request.
        what: String,
        /// What is wrong with the body.
        why: String,
    },
}

// === impl ApiServer ===

impl ApiServer {
    /// A client with these credentials. Connects at the first request.
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials }
    }

    /// Gets the metadata of the object at `path`.
    pub async fn metadata<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.send(Method::GET, path, METADATA, Vec::new()).await
    }

    /// Posts `body` (JSON) to `path` and returns the created object.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<T, ApiError> {
        self.send(Method::POST, path, "application/json", body).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Vec<u8>,
    ) -> Result<T, ApiError> {
        let what = format!("{method} {path}");
        let asking = async {
            let stream = self.connect().await?;
            self.exchange(stream, method, path, accept, body).await
        };
        let late = || self.unreachable(format_args!("no answer within {} s", TIMEOUT.as_secs()));
        let (status, answer) = timeout(TIMEOUT, asking).await.map_err(|_| late())??;
        if !status.is_success() {
            return Err(ApiError::Refused { status, what, message: message(&answer) });
        }
        serde_json::from_slice(&answer).map_err(|error| ApiError::Answer { what, why: error.to_string() })
    }

    async fn connect(&self) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, ApiError> {
        let server = &self.credentials.server;
        let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|error| self.unreachable(error))?;
        let config = self.tls().map_err(|why| self.unreachable(why))?;
        let stream = TcpStream::connect(server).await.map_err(|error| self.unreachable(error))?;
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| self.unreachable(error))
    }

    fn tls(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(self.credentials.roots.as_bytes()) {
            let root = root.map_err(|error| format!("its roots: {error}"))?;
            roots.add(root).map_err(|error| format!("its roots: {error}"))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }

    async fn exchange<S>(
        &self,
        stream: S,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), ApiError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let response = self.request(stream, method, path, accept, body).await?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), RESPONSE_LIMIT).collect().await;
        Ok((status, answer.map_err(|error| self.unreachable(error))?.to_bytes()))
    }

    /// Sends one request on `stream`. Returns when the head of the response is there.
    async fn request<S>(
        &self,
        stream: S,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, ApiError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let unreachable = |error: &dyn std::fmt::Display| self.unreachable(error);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.credentials.server)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.credentials.token.trim()))
            .header(header::ACCEPT, accept)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("fairway-cni/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unreachable(&error))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| unreachable(&error))?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(|error| unreachable(&error))
    }

    fn unreachable(&self, why: impl ToString) -> ApiError {
        ApiError::Unreachable { server: self.credentials.server.clone(), why: why.to_string() }
    }
}

// === impl ApiError ===

impl ApiError {
    /// The HTTP status, if the API server has refused the request.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Unreachable { .. } | Self::Answer { .. } => None,
        }
    }
}

/// The message in a Status object.
fn message(answer: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Status {
        message: String,
    }
    serde_json::from_slice::<Status>(answer).ok().map(|it| it.message)
}
