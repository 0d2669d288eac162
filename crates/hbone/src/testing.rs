//! Two peers in one process: a pool whose connections are in-memory pipes to a server.

use crate::{
    Connect, ConnectRequest, Pool, Request, ServeError, Target, Tunnel, WindowBudget, client, serve, server,
};
use bytes::BytesMut;
use fairway_identity::TlsIdentity;
use fairway_identity::testing::TestAuthority;
use fairway_runtime::drain;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep_until};

pub(crate) const DESTINATION: &str = "10.0.0.1:80";

/// A client's pool, and the server it reaches.
pub(crate) struct Peers {
    pub(crate) authority: TestAuthority,
    pub(crate) client: Arc<TlsIdentity>,
    pub(crate) target: Target,
    pub(crate) pool: Pool<Pipes>,
    pub(crate) connects: Rc<Cell<usize>>,
    /// Of new connections: how long a byte is under way, in whole milliseconds.
    pub(crate) latency: Rc<Cell<Duration>>,
    /// How the server's connections ended.
    pub(crate) served: Rc<RefCell<Vec<Result<(), ServeError>>>>,
    /// The client's and the server's.
    pub(crate) budgets: [WindowBudget; 2],
    pub(crate) drain: drain::Trigger,
}

/// A connection after its TLS handshake.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Connects by making a pipe whose other end the server gets.
pub(crate) struct Pipes {
    accept: Box<dyn Fn(DuplexStream)>,
    connects: Rc<Cell<usize>>,
    /// How long a byte is under way.
    latency: Rc<Cell<Duration>>,
}

impl Connect for Pipes {
    type Io = DuplexStream;

    async fn connect(&self, _: SocketAddr) -> io::Result<DuplexStream> {
        self.connects.set(self.connects.get() + 1);
        let (near, far) = tokio::io::duplex(64 << 10);
        let latency = self.latency.get();
        // Timers of tokio end at whole milliseconds: 250 µs would be 1 ms.
        assert_eq!(latency.subsec_micros() % 1000, 0, "{latency:?} is not simulated as such");
        if latency.is_zero() {
            (self.accept)(far);
            return Ok(near);
        }
        let (behind, accepted) = tokio::io::duplex(64 << 10);
        (self.accept)(accepted);
        let ((from_near, to_near), (from_behind, to_behind)) =
            (tokio::io::split(far), tokio::io::split(behind));
        spawn_local(delay(from_near, to_behind, latency));
        spawn_local(delay(from_behind, to_near, latency));
        Ok(near)
    }
}

/// A link that is as wide as wanted, and long.
async fn delay(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + 'static,
    latency: Duration,
) {
    let (sender, mut underway) = mpsc::unbounded_channel();
    spawn_local(async move {
        while let Some((due, bytes)) = underway.recv().await {
            sleep_until(due).await;
            let bytes: BytesMut = bytes;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    loop {
        let mut bytes = BytesMut::with_capacity(64 << 10);
        match from.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) if sender.send((Instant::now() + latency, bytes)).is_err() => return,
            Ok(_) => {}
        }
    }
}

impl Peers {
    pub(crate) fn new<F: Future<Output = ()> + 'static>(
        handler: impl Fn(Request) -> F + Clone + 'static,
    ) -> Self {
        Self::with(client::Settings::default(), server::Settings::default(), handler)
    }

    pub(crate) fn with<F: Future<Output = ()> + 'static>(
        client_settings: client::Settings,
        server_settings: server::Settings,
        handler: impl Fn(Request) -> F + Clone + 'static,
    ) -> Self {
        let authority = TestAuthority::new("cluster.local");
        let [client, server] = ["client", "server"].map(|it| authority.identity("shop", it));
        Self::between(authority, [client, server], client_settings, server_settings, handler)
    }

    /// A client and a server with these identities.
    pub(crate) fn between<F: Future<Output = ()> + 'static>(
        authority: TestAuthority,
        [client, server]: [Arc<TlsIdentity>; 2],
        client_settings: client::Settings,
        server_settings: server::Settings,
        handler: impl Fn(Request) -> F + Clone + 'static,
    ) -> Self {
        let target = Target { address: "10.0.0.1:15008".parse().unwrap(), identity: server.id().clone() };
        let (trigger, watch) = drain::channel();
        let (connects, served) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
        let results = served.clone();
        let latency = Rc::new(Cell::new(Duration::ZERO));
        let budgets = [WindowBudget::new(), WindowBudget::new()];
        let accepting = budgets[1].clone();
        let accept = Box::new(move |io| {
            let (server, watch, handler, results) =
                (server.clone(), watch.clone(), handler.clone(), results.clone());
            let budget = accepting.clone();
            spawn_local(async move {
                let result = serve(io, &server, &server_settings, &budget, watch, handler).await;
                results.borrow_mut().push(result);
            });
        });
        let pool = Pool::with_budget(
            Pipes { accept, connects: connects.clone(), latency: latency.clone() },
            client_settings,
            budgets[0].clone(),
        );
        Self { authority, client, target, pool, connects, latency, served, budgets, drain: trigger }
    }

    pub(crate) async fn open(&self) -> Result<Tunnel, crate::OpenError> {
        self.pool.open(&self.client, &self.target, &connect_request()).await
    }
}

impl Pipes {
    /// A pool of a client, and the target that it reaches: a server that speaks for itself after the TLS handshake.
    pub(crate) fn to<F: Future<Output = ()> + 'static>(
        serve: impl Fn(Box<dyn Io>) -> F + Clone + 'static,
    ) -> (Pool<Self>, Arc<TlsIdentity>, Target) {
        let authority = TestAuthority::new("cluster.local");
        let [client, server] = ["client", "server"].map(|it| authority.identity("shop", it));
        let target = Target { address: "10.0.0.1:15008".parse().unwrap(), identity: server.id().clone() };
        let accept = Box::new(move |io| {
            let (server, serve) = (server.clone(), serve.clone());
            spawn_local(async move {
                let (io, _) = Box::pin(fairway_identity::accept(&server, io)).await.unwrap();
                serve(Box::new(io)).await;
            });
        });
        let pipes = Self { accept, connects: Rc::default(), latency: Rc::default() };
        (Pool::new(pipes, client::Settings::default()), client, target)
    }
}

/// A client that speaks for itself: its side of a connection after the TLS handshake, and how the server's side ends. The trigger keeps
/// the server from draining.
pub(crate) async fn connection<F: Future<Output = ()> + 'static>(
    handler: impl Fn(Request) -> F + 'static,
) -> (impl AsyncRead + AsyncWrite + Unpin + 'static, JoinHandle<Result<(), ServeError>>, drain::Trigger) {
    let authority = TestAuthority::new("cluster.local");
    let (client, server) = (authority.identity("a", "a"), authority.identity("a", "b"));
    let (near, far) = tokio::io::duplex(64 << 10);
    let (trigger, watch) = drain::channel();
    let serving = spawn_local(async move {
        serve(far, &server, &server::Settings::default(), &WindowBudget::new(), watch, handler).await
    });
    let expected = [authority.id("a", "b")];
    let (tls, _) = Box::pin(fairway_identity::connect(&client, near, &expected)).await.unwrap();
    // Boxed, or every test that holds it is a large future.
    (Box::new(tls), serving, trigger)
}

pub(crate) fn connect_request() -> ConnectRequest {
    ConnectRequest::to(DESTINATION.parse::<SocketAddr>().unwrap())
}

/// Sends back what it gets, and ends when the peer does.
pub(crate) async fn echo(request: Request) {
    let (mut read, mut write) = tokio::io::split(request.accept().unwrap());
    let _ = tokio::io::copy(&mut read, &mut write).await;
    let _ = write.shutdown().await;
}

/// Sends a text, half-closes and returns what comes back.
pub(crate) async fn ask(tunnel: &mut Tunnel, text: &str) -> String {
    tunnel.write_all(text.as_bytes()).await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut answer = String::new();
    tunnel.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Runs a test with tasks that need not be `Send`.
pub(crate) async fn locally<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

/// Lets all other tasks run until none can go on.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}
