//! A client as any program in a pod is one: a plain socket to a plain address.

use super::bookshop;
use anyhow::Context;
use bytes::Bytes;
use fairway_testbed::Pod;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// No answer in this time is a result of its own.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One connection, kept alive.
pub struct Session {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct EchoResponse {
    /// The status code of the response.
    pub status: StatusCode,
    /// The headers of the response.
    pub headers: http::HeaderMap,
    /// What the echo server says it saw; null if somebody else answered.
    pub echo: serde_json::Value,
    /// The body as text.
    pub text: String,
}

/// What to ask for.
#[derive(Clone, Debug, Default)]
pub struct Ask<'a> {
    /// Path and query of the request, beginning with `/`.
    pub path: &'a str,
    /// The headers of the request, without `Host`.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body; none makes it a GET.
    pub body: Option<&'a str>,
}

// === impl Session ===

impl Session {
    /// Connects from a pod.
    pub async fn open(pod: &Pod, destination: SocketAddr, host: &str) -> anyhow::Result<Self> {
        let stream = tokio::time::timeout(TIMEOUT, pod.connect(destination))
            .await
            .with_context(|| format!("no connection to {destination} in {TIMEOUT:?}"))??;
        Self::over(stream, host).await
    }

    /// Speaks HTTP/1.1 over TLS, and trusts the example's authority and nobody else.
    pub async fn over_tls<S>(stream: S, host: &str) -> anyhow::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(bookshop::AUTHORITY.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.context("TLS")?;
        Self::over(stream, host).await
    }

    /// Speaks HTTP/1.1 over a connection that is there.
    pub async fn over<S>(stream: S, host: &str) -> anyhow::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // How it ends is seen by whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Self { sender, host: host.to_owned() })
    }

    /// Sends a request and reads the whole answer.
    pub async fn ask(&mut self, ask: &Ask<'_>) -> anyhow::Result<EchoResponse> {
        let exchange = async { read(self.send(ask).await?).await };
        tokio::time::timeout(TIMEOUT, exchange).await.with_context(|| format!("no answer in {TIMEOUT:?}"))?
    }

    /// Sends a request and reads the answer's head; the body is left to the caller.
    pub async fn send(&mut self, ask: &Ask<'_>) -> anyhow::Result<Response<Incoming>> {
        self.sender.ready().await.context("the connection has ended")?;
        let method = if ask.body.is_some() { http::Method::POST } else { http::Method::GET };
        let mut request =
            Request::builder().method(method).uri(ask.path).header(http::header::HOST, &self.host);
        for (name, value) in ask.headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(ask.body.unwrap_or_default().to_owned()));
        self.sender.send_request(request.body(body)?).await.context("no answer")
    }
}

async fn read(response: Response<Incoming>) -> anyhow::Result<EchoResponse> {
    let (head, body) = response.into_parts();
    let text = String::from_utf8_lossy(&body.collect().await.context("the answer broke off")?.to_bytes())
        .into_owned();
    let echo = serde_json::from_str(&text).unwrap_or_default();
    Ok(EchoResponse { status: head.status, headers: head.headers, echo, text })
}

// === impl EchoResponse ===

impl EchoResponse {
    /// The pod that answered, as it names itself.
    pub fn pod(&self) -> &str {
        self.echo["pod"].as_str().unwrap_or("nobody")
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// One line for the report, such as `200 from reviews-v1-1`.
    pub fn summary(&self) -> String {
        match self.echo["pod"].as_str() {
            Some(pod) => format!("{} from {pod}", self.status.as_u16()),
            None => format!("{} ({})", self.status.as_u16(), self.text.trim()),
        }
    }
}

/// One request on a connection of its own.
pub async fn ask_on(
    pod: &Pod,
    destination: SocketAddr,
    host: &str,
    ask: &Ask<'_>,
) -> anyhow::Result<EchoResponse> {
    Session::open(pod, destination, host).await?.ask(ask).await
}

/// A GET without headers, on a connection of its own.
pub async fn get(pod: &Pod, destination: SocketAddr, host: &str, path: &str) -> anyhow::Result<EchoResponse> {
    ask_on(pod, destination, host, &Ask { path, ..Ask::default() }).await
}
