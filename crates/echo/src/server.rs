//! Listeners and the connections they accept.

use crate::seen::{Memory, Recorded};
use crate::{raw, request};
use http::StatusCode;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// How long requests may go on after the server was told to end.
const GRACE: Duration = Duration::from_secs(10);

/// An echo server: a name and a memory that all its listeners share.
#[derive(Clone, Debug)]
pub struct EchoServer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pod: String,
    /// Of answers whose request does not ask for another.
    status: StatusCode,
    memory: Memory,
}

/// What a request can know and do about its connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    /// Ends it with a TCP reset.
    pub(crate) reset: Arc<Notify>,
}

// === impl EchoServer ===

impl EchoServer {
    /// A server that goes by this name.
    pub fn new(pod: impl Into<String>) -> Self {
        Self { inner: Arc::new(Inner { pod: pod.into(), status: StatusCode::OK, memory: Memory::default() }) }
    }

    /// The same, but its HTTP answers have this status unless the request asks for another.
    pub fn with_status(self, status: StatusCode) -> Self {
        let pod = self.inner.pod.clone();
        Self { inner: Arc::new(Inner { pod, status, memory: Memory::default() }) }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.inner.status
    }

    /// The pod's name, which every response carries.
    pub fn pod(&self) -> &str {
        &self.inner.pod
    }

    /// What it saw: the same as `/_seen` answers.
    pub fn recorded(&self) -> Recorded {
        self.inner.memory.recorded()
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.inner.memory
    }

    /// Serves HTTP/1.1, HTTP/2 with prior knowledge, gRPC and WebSocket, all on one port, until `end`; then lets requests
    /// under way finish.
    pub async fn serve_http(self, listener: TcpListener, end: impl Future<Output = ()>) -> io::Result<()> {
        let graceful = GracefulShutdown::new();
        let mut end = pin!(end);
        loop {
            let (stream, peer) = tokio::select! {
                accepted = accept(&listener) => accepted,
                () = &mut end => break,
            };
            // Small answers are not to wait for more.
            stream.set_nodelay(true)?;
            self.spawn_http(stream, peer, &graceful)?;
        }
        drop(listener);
        let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
        Ok(())
    }

    fn spawn_http(&self, stream: TcpStream, peer: SocketAddr, graceful: &GracefulShutdown) -> io::Result<()> {
        let socket = stream.as_fd().try_clone_to_owned()?;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let connection = Connection { peer, reset: Arc::new(Notify::new()) };
        let reset = Arc::clone(&connection.reset);
        let server = self.clone();
        let service = service_fn(move |request: http::Request<Incoming>| {
            request::answer(server.clone(), connection.clone(), request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        builder.http2().timer(TokioTimer::new());
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        let serving = graceful.watch(serving);
        tokio::spawn(async move {
            tokio::select! {
                ended = serving => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "a connection ended early");
                    }
                }
                // With nothing to linger for, the last handle to the socket resets the connection when it goes.
                () = reset.notified() => {
                    if let Err(error) = SockRef::from(&socket).set_linger(Some(Duration::ZERO)) {
                        tracing::warn!(%peer, %error, "cannot reset");
                    }
                }
            }
        });
        Ok(())
    }

    /// Says back every byte, and ends its half when the client ends its own.
    pub async fn serve_tcp(self, listener: TcpListener) {
        loop {
            let (stream, _) = accept(&listener).await;
            tokio::spawn(raw::say_back(stream));
        }
    }

    /// Greets before it listens, as mail and database servers do, then says back every byte.
    pub async fn serve_greeting(self, listener: TcpListener) {
        loop {
            let (stream, peer) = accept(&listener).await;
            tokio::spawn(raw::greet(
                stream,
                format!("220 {} greets {}\r\n", self.pod(), peer.ip().to_canonical()),
            ));
        }
    }
}

/// The next connection. What goes wrong is of one connection, or passes.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
