//! The load: clients that each send a request, wait for the whole answer, and send the next.

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

/// How the clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// HTTP/1.1 on kept connections.
    Http1,
    /// HTTP/2 with prior knowledge, eight streams a connection.
    Http2,
    /// HTTP/1.1 on kept connections, over TLS.
    Tls,
    /// HTTP/1.1, a connection for each request.
    Connect,
}

/// Who is asked, and how.
#[derive(Clone)]
pub struct Target {
    pub kind: Kind,
    /// Where; for TLS, [`tls_address`] of it.
    pub address: SocketAddr,
    /// In the Host header.
    pub host: &'static str,
    /// What a TLS client trusts.
    pub authority: CertificateDer<'static>,
}

/// What was sent and how long it took.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Answers with status 200.
    pub requests: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// One in sixteen latencies, sorted.
    pub latencies: Vec<Duration>,
}

/// What one client did.
type Done = anyhow::Result<(u64, Vec<Duration>)>;

/// Streams of an HTTP/2 connection.
const STREAMS: usize = 8;
const PATH: &str = "/shelf/fiction?page=2";

impl Kind {
    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1 keep-alive",
            Self::Http2 => "HTTP/2",
            Self::Tls => "HTTP/1.1 keep-alive over TLS",
            Self::Connect => "HTTP/1.1, a connection for each request",
        }
    }
}

/// Where a contender that accepts here takes TLS.
pub fn tls_address(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 100)
}

/// Keeps `clients` busy for `duration`.
pub async fn run(target: &Target, clients: usize, duration: Duration) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let deadline = start + duration;
    let mut tasks = Vec::new();
    match target.kind {
        Kind::Http2 => {
            for _ in 0..clients.div_ceil(STREAMS) {
                let stream = connect(target.address).await?;
                let builder = http2::Builder::new(TokioExecutor::new());
                let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
                tokio::task::spawn_local(connection);
                for _ in 0..STREAMS {
                    tasks.push(tokio::task::spawn_local(http2_streams(
                        sender.clone(),
                        target.host,
                        deadline,
                    )));
                }
            }
        }
        kind => {
            let request: Rc<[u8]> = format!(
                "GET {PATH} HTTP/1.1\r\nhost: {}\r\nuser-agent: bench\r\naccept: */*\r\n\r\n",
                target.host
            )
            .into_bytes()
            .into();
            let tls = tls_client(target)?;
            for _ in 0..clients {
                let (address, host, request, tls) =
                    (target.address, target.host, request.clone(), tls.clone());
                tasks.push(match kind {
                    Kind::Tls => tokio::task::spawn_local(async move {
                        let stream = connect(tls_address(address)).await?;
                        let stream = tls.connect(ServerName::try_from(host)?, stream).await?;
                        converse(stream, request, deadline).await
                    }),
                    Kind::Connect => tokio::task::spawn_local(reconnect(address, request, deadline)),
                    _ => tokio::task::spawn_local(async move {
                        converse(connect(address).await?, request, deadline).await
                    }),
                });
            }
        }
    }
    let mut outcome = Outcome::default();
    for task in tasks {
        let (requests, latencies) = task.await??;
        outcome.requests += requests;
        outcome.latencies.extend(latencies);
    }
    outcome.elapsed = start.elapsed();
    outcome.latencies.sort_unstable();
    Ok(outcome)
}

fn tls_client(target: &Target) -> anyhow::Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(target.authority.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).await.context("connect to the contender")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn converse<S>(mut stream: S, request: Rc<[u8]>, deadline: Instant) -> Done
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut count, mut latencies) = (0, Vec::new());
    let mut buffer = Vec::with_capacity(4096);
    while Instant::now() < deadline {
        let sent = Instant::now();
        stream.write_all(&request).await?;
        stream.flush().await?;
        read_answer(&mut stream, &mut buffer).await?;
        if count % 16 == 0 {
            latencies.push(sent.elapsed());
        }
        count += 1;
    }
    Ok((count, latencies))
}

async fn reconnect(address: SocketAddr, request: Rc<[u8]>, deadline: Instant) -> Done {
    let (mut count, mut latencies) = (0, Vec::new());
    let mut buffer = Vec::with_capacity(4096);
    while Instant::now() < deadline {
        let sent = Instant::now();
        let mut stream = connect(address).await?;
        stream.write_all(&request).await?;
        read_answer(&mut stream, &mut buffer).await?;
        drop(stream);
        if count % 16 == 0 {
            latencies.push(sent.elapsed());
        }
        count += 1;
    }
    Ok((count, latencies))
}

async fn http2_streams(
    mut sender: http2::SendRequest<Empty<Bytes>>,
    host: &'static str,
    deadline: Instant,
) -> Done {
    let (mut count, mut latencies) = (0, Vec::new());
    while Instant::now() < deadline {
        let sent = Instant::now();
        let request = Request::get(format!("http://{host}{PATH}"))
            .header("user-agent", "bench")
            .header("accept", "*/*")
            .body(Empty::new())?;
        let answer = sender.send_request(request).await?;
        ensure!(answer.status() == 200, "the contender answered: {}", answer.status());
        answer.into_body().collect().await?;
        if count % 16 == 0 {
            latencies.push(sent.elapsed());
        }
        count += 1;
    }
    Ok((count, latencies))
}

async fn read_answer<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    loop {
        if let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = std::str::from_utf8(buffer.get(..head).unwrap_or_default())?;
            ensure!(text.starts_with("HTTP/1.1 200"), "the contender answered: {text}");
            let length: usize = text
                .lines()
                .find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
                })
                .context("the answer has no content-length")?;
            let end = head + 4 + length;
            if buffer.len() >= end {
                buffer.drain(..end);
                return Ok(());
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            bail!("the contender closed the connection");
        }
    }
}
