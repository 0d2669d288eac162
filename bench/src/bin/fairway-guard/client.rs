//! The client: one connection, one request after the other.

use super::endpoint::find;
use super::script::Script;
use anyhow::{Context, ensure};
use bytes::Bytes;
use fairway_waypoint::testing::{MemoryClient, MemoryProxy};
use fairway_waypoint::wire::Version;
use h2::client::SendRequest;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// The one connection over which all requests of a run go.
pub enum Client {
    Http1 { stream: DuplexStream, request: Vec<u8>, status: &'static str, buffer: Vec<u8> },
    Http2 { sender: SendRequest<Bytes>, request: Request<()> },
}

// === impl Client ===

impl Client {
    /// A connection over memory; for HTTP/2 after its handshake.
    pub async fn connect(proxy: &MemoryProxy, script: Script) -> anyhow::Result<Self> {
        if script != Script::Http2 {
            let stream = proxy.connect(MemoryClient::default());
            let (request, status) = (script.request(), script.status());
            return Ok(Self::Http1 { stream, request, status, buffer: vec![0; 16 * 1024] });
        }
        let stream = proxy.connect(MemoryClient { version: Some(Version::Http2), ..MemoryClient::default() });
        let (sender, connection) = h2::client::handshake(stream).await?;
        tokio::task::spawn_local(connection);
        let mut request = Request::get("http://shop.example/cart?item=7").body(())?;
        for (name, value) in super::script::HEADERS {
            request.headers_mut().insert(name, http::HeaderValue::from_static(value));
        }
        Ok(Self::Http2 { sender, request })
    }

    /// Sends so many requests, and reads their responses.
    pub async fn ask(&mut self, requests: u32) -> anyhow::Result<()> {
        for _ in 0..requests {
            match self {
                Self::Http1 { stream, request, status, buffer } => {
                    stream.write_all(request).await?;
                    read_response(stream, buffer, status).await?;
                }
                Self::Http2 { sender, request } => {
                    std::future::poll_fn(|cx| sender.poll_ready(cx)).await?;
                    let (response, _) = sender.send_request(request.clone(), true)?;
                    let mut body = response.await?.into_body();
                    while let Some(data) = body.data().await {
                        let length = data?.len();
                        body.flow_control().release_capacity(length)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reads one response whose body, if it has one, has a `content-length`.
async fn read_response(stream: &mut DuplexStream, buffer: &mut [u8], status: &str) -> anyhow::Result<()> {
    let mut filled = 0;
    loop {
        let rest = buffer.get_mut(filled..).context("the response is too long")?;
        let read = stream.read(rest).await?;
        ensure!(read > 0, "the proxy closed the connection");
        filled += read;
        let seen = buffer.get(..filled).unwrap_or_default();
        let Some(head) = find(seen, b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(seen.get(..head + 2).unwrap_or_default())?;
        ensure!(text.starts_with(status), "expected `{status}`, got:\n{text}");
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.map_or(Ok(0), str::parse)?;
        if filled == head + 4 + length {
            return Ok(());
        }
    }
}
