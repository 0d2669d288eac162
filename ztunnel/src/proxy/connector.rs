//! Connections that are opened from a pod's network namespace.

use super::program_socket;
use crate::TunnelSettings;
use fairway_hbone::Connect;
use fairway_netns::socket::{self, KEEPALIVE, Mark, Source};
use fairway_netns::{Namespace, NetnsError};
use rand::Rng;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Source ports of connections that use the client's address. The client itself does not choose them: Linux assigns ephemeral
/// ports from 32768 on. If the client had a plaintext connection from the same port to the same application, the kernel's
/// connection tracking could not tell the two apart.
const PORTS: RangeInclusive<u16> = 16_384..=32_767;
/// Random ports that are tried before the kernel chooses one.
const TRIES: usize = 8;

/// Connects from a pod's network namespace, with the mark that the capture rules let pass.
#[derive(Clone)]
pub(super) struct PodConnector {
    namespace: Namespace,
    mark: Mark,
}

/// Whom a connection leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// A program of the pod itself.
    Program,
    /// Anybody else: a pod, a waypoint, or a client without mTLS.
    Other,
}

impl PodConnector {
    pub(super) fn new(namespace: Namespace, settings: &TunnelSettings) -> Self {
        Self { namespace, mark: settings.capture_rules().own_mark }
    }

    /// Connects to the application in the pod, from the client's address. If the address families differ, from an address of
    /// the pod.
    pub(super) async fn connect_as(
        &self,
        client: IpAddr,
        destination: SocketAddr,
        wait: Duration,
    ) -> io::Result<TcpStream> {
        if client.is_ipv4() != destination.is_ipv4() {
            return self.open(destination, None, Peer::Program, wait).await;
        }
        for _ in 0..TRIES {
            let port = rand::rng().random_range(PORTS);
            let source = Source::SpoofedPort(SocketAddr::new(client, port));
            match self.open(destination, Some(source), Peer::Program, wait).await {
                Err(error) if is_taken(&error) => {}
                opened => return opened,
            }
        }
        self.open(destination, Some(Source::Spoofed(client)), Peer::Program, wait).await
    }

    /// Connects to a destination outside the mesh, from an address of the pod.
    pub(super) async fn connect_plain(
        &self,
        destination: SocketAddr,
        wait: Duration,
    ) -> io::Result<TcpStream> {
        self.open(destination, None, Peer::Other, wait).await
    }

    async fn open(
        &self,
        destination: SocketAddr,
        source: Option<Source>,
        peer: Peer,
        wait: Duration,
    ) -> io::Result<TcpStream> {
        let wanted = socket::Connect { destination, source, mark: Some(self.mark) };
        let opening = async {
            let socket = self.namespace.connector(wanted).await.map_err(with_kind)?;
            if peer == Peer::Program {
                program_socket::bound(&socket);
            }
            socket.connect(destination).await
        };
        let stream = timeout(wait, opening).await.map_err(|_| io::ErrorKind::TimedOut)??;
        socket::tune(&stream, KEEPALIVE)?;
        Ok(stream)
    }
}

/// Callers decide by the kind of the kernel's error.
fn with_kind(error: NetnsError) -> io::Error {
    match &error {
        NetnsError::Socket { source, .. } => io::Error::new(source.kind(), error),
        _ => io::Error::other(error),
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

impl Connect for PodConnector {
    type Io = TcpStream;

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        // The pool of tunnels has a shorter timeout of its own.
        self.connect_plain(address, Duration::from_secs(60)).await
    }
}
