//! A pod and what can be done in it.

use crate::TestbedError;
use crate::network::within;
use fairway_netns::Namespace;
use fairway_netns::link::Links;
use fairway_netns::socket::{self, Connect, Listen, ReusePort, Transparency};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// A network namespace with an `eth0`, as a container runtime makes it. Dropped, it is unplugged; it is gone
/// when all its processes and sockets are.
#[derive(Debug)]
pub struct Pod {
    pub(crate) name: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) namespace: Namespace,
    pub(crate) netns_path: PathBuf,
    pub(crate) node: Namespace,
    /// Its end of the cable on the node.
    pub(crate) cable: String,
}

// === impl Pod ===

impl Pod {
    /// The name that the pod was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first of its addresses, if it has one.
    pub fn address(&self) -> Option<IpAddr> {
        self.addresses.first().copied()
    }

    /// All its addresses, of both families.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The network namespace, to run things in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Where the handle of its network namespace is mounted, for other processes of the sandbox.
    pub fn netns_path(&self) -> &Path {
        &self.netns_path
    }

    /// Starts a process in the pod. It is killed when the handle to it is dropped.
    pub async fn spawn(&self, mut command: Command) -> Result<Child, TestbedError> {
        let runtime = tokio::runtime::Handle::current();
        command.kill_on_drop(true);
        // A process starts in the namespace of the thread that starts it.
        self.open(move || {
            let _runtime = runtime.enter();
            command.spawn()
        })
        .await
    }

    /// Runs a program of futures on a thread of its own that lives in the pod: whatever sockets it opens are the pod's.
    pub async fn run<T, F>(&self, work: F) -> Result<T, TestbedError>
    where
        T: Send + 'static,
        F: AsyncFnOnce() -> T + Send + 'static,
    {
        let (send, receive) = oneshot::channel();
        let thread = format!("pod {}", self.name);
        let started = self.namespace.thread(&thread, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let outcome = runtime.map(|runtime| tokio::task::LocalSet::new().block_on(&runtime, work()));
            // Nobody waits any more.
            let _ = send.send(outcome);
        });
        started.map_err(|source| TestbedError::Namespace { whose: self.whose(), source })?;
        let ended =
            receive.await.unwrap_or_else(|_| Err(io::Error::other("the program in the pod panicked")));
        ended.map_err(|source| self.io(source))
    }

    /// Connects from within, as a program of the pod would.
    pub async fn connect(&self, destination: SocketAddr) -> Result<TcpStream, TestbedError> {
        let wanted = Connect { destination, source: None, mark: None };
        let socket = self.open(move || socket::connector(&wanted)).await?;
        socket.connect(destination).await.map_err(|source| self.io(source))
    }

    /// Listens within, as a program of the pod would.
    pub async fn listen(&self, address: SocketAddr) -> Result<TcpListener, TestbedError> {
        let wanted = Listen {
            address,
            backlog: 1024,
            reuse_port: ReusePort::Exclusive,
            transparency: Transparency::Opaque,
            mark: None,
        };
        let listener = self.open(move || socket::listen(&wanted)).await?;
        TcpListener::from_std(listener).map_err(|source| self.io(source))
    }

    /// Opens a UDP socket within.
    pub async fn udp(&self, address: SocketAddr) -> Result<UdpSocket, TestbedError> {
        let open = move || {
            let socket = std::net::UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = self.open(open).await?;
        UdpSocket::from_std(socket).map_err(|source| self.io(source))
    }

    async fn open<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, TestbedError> {
        let opened = self.namespace.run(work).await;
        opened
            .map_err(|source| TestbedError::Namespace { whose: self.whose(), source })?
            .map_err(|source| self.io(source))
    }

    fn io(&self, source: io::Error) -> TestbedError {
        TestbedError::Io { whose: self.whose(), source }
    }

    fn whose(&self) -> String {
        format!("pod {}", self.name)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // At once, whoever is left inside: somebody else may get its address.
        let cable = std::mem::take(&mut self.cable);
        let unplugged = within(&self.node, &self.whose(), move || Ok(Links::open()?.remove(&cable)?));
        if let Err(error) = unplugged {
            tracing::warn!(%error, "cannot unplug");
        }
        let _ = rustix::mount::unmount(&self.netns_path, rustix::mount::UnmountFlags::DETACH);
        let _ = std::fs::remove_file(&self.netns_path);
    }
}
