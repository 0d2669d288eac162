//! The servers in the pods: `/bytes/<count>` is answered with so many bytes, over HTTP/1 and over HTTP/2.

use anyhow::Context as _;
use bytes::Bytes;
use fairway_testbed::Pod;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Where HTTP/1 is served.
pub const HTTP1_PORT: u16 = 8080;
/// Where HTTP/2 with prior knowledge is.
pub const HTTP2_PORT: u16 = 8081;

static CHUNK: [u8; 128 << 10] = [b'.'; 128 << 10];

/// Serves in this pod until the process ends.
pub async fn start(pod: Arc<Pod>) -> anyhow::Result<()> {
    let (listening, is_listening) = oneshot::channel();
    tokio::spawn(async move {
        let serving = pod.run(async move || {
            let bind =
                async |port: u16| TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await;
            let listeners = tokio::try_join!(bind(HTTP1_PORT), bind(HTTP2_PORT));
            let (listeners, outcome) = match listeners {
                Ok(listeners) => (Some(listeners), Ok(())),
                Err(error) => (None, Err(error)),
            };
            let _ = listening.send(outcome);
            if let Some((http1, http2)) = listeners {
                tokio::join!(accept(http1, serve_http1), accept(http2, serve_http2));
            }
        });
        let _ = serving.await;
    });
    is_listening.await.context("the server's thread has ended")?.context("listen in the pod")
}

async fn accept<F: Future<Output = ()> + 'static>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::task::spawn_local(serve(stream));
    }
}

fn wanted(path: &str) -> u64 {
    path.strip_prefix("/bytes/").and_then(|it| it.parse().ok()).unwrap_or(0)
}

async fn serve_http1(mut stream: TcpStream) {
    // A client that goes away ends its connection, nothing else.
    let _ = answer_http1(&mut stream).await;
}

async fn answer_http1(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(4096);
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        head.clear();
        let mut left = text.split(' ').nth(1).map_or(0, wanted);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {left}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK.len());
            stream.write_all(CHUNK.get(..part).unwrap_or(&CHUNK)).await?;
            left -= part as u64;
        }
    }
}

async fn serve_http2(stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let body = Dots(wanted(request.uri().path()));
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(1000).initial_connection_window_size(16 << 20);
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// A body of dots; the number is how many are still to be sent.
struct Dots(u64);

impl Body for Dots {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        let part = usize::try_from(self.0).unwrap_or(usize::MAX).min(CHUNK.len());
        self.0 -= part as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(CHUNK.get(..part).unwrap_or(&CHUNK))))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }
}
