//! Connections made from within a pod, and the two ends of a carried one.

use super::account::{Account, Outcome};
use super::revocation::revoked;
use crate::Settings;
use fairway_hbone::copy::{ByteStream, Plain};
use fairway_hbone::{Connect, Ended, Side, Tunnel, bidirectional};
use fairway_netns::socket::{self, KEEPALIVE, Mark, Source};
use fairway_netns::{Namespace, NetnsError};
use fairway_runtime::drain::{self, Phase};
use rand::Rng;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The source ports of connections in a client's name: none that the client itself would choose (Linux takes them from 32768
/// on). A plaintext connection of its own from the same port to the same program would be one and the same for the kernel's
/// tracking of connections, and each would get packets of the other.
const PORTS: RangeInclusive<u16> = 16_384..=32_767;
/// How often another port is tried.
const TRIES: usize = 8;

/// Connects from a pod's namespace, past the capture rules.
#[derive(Clone)]
pub(super) struct FromPod {
    namespace: Namespace,
    mark: Mark,
}

impl FromPod {
    pub(super) fn new(namespace: Namespace, settings: &Settings) -> Self {
        Self { namespace, mark: settings.rules().own_mark }
    }

    /// To the pod's own program, from the client's address.
    pub(super) async fn connect_as(
        &self,
        client: IpAddr,
        destination: SocketAddr,
        wait: Duration,
    ) -> io::Result<TcpStream> {
        if client.is_ipv4() != destination.is_ipv4() {
            return self.open(destination, None, wait).await;
        }
        for _ in 0..TRIES {
            let port = rand::rng().random_range(PORTS);
            let source = Source::SpoofedPort(SocketAddr::new(client, port));
            match self.open(destination, Some(source), wait).await {
                Err(error) if is_taken(&error) => {}
                opened => return opened,
            }
        }
        self.open(destination, Some(Source::Spoofed(client)), wait).await
    }

    /// To somebody outside the mesh.
    pub(super) async fn connect_plain(
        &self,
        destination: SocketAddr,
        wait: Duration,
    ) -> io::Result<TcpStream> {
        self.open(destination, None, wait).await
    }

    async fn open(
        &self,
        destination: SocketAddr,
        source: Option<Source>,
        wait: Duration,
    ) -> io::Result<TcpStream> {
        let wanted = socket::Connect { destination, source, mark: Some(self.mark) };
        let opening = async {
            let socket = self.namespace.connector(wanted).await.map_err(with_kind)?;
            socket.connect(destination).await
        };
        let stream = timeout(wait, opening).await.map_err(|_| io::ErrorKind::TimedOut)??;
        socket::tune(&stream, KEEPALIVE)?;
        Ok(stream)
    }
}

/// The kernel's reason is what the caller decides by.
fn with_kind(error: NetnsError) -> io::Error {
    match &error {
        NetnsError::Socket { source, .. } => io::Error::new(source.kind(), error),
        _ => io::Error::other(error),
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

impl Connect for FromPod {
    type Io = TcpStream;

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        // The pool has its own limit.
        self.connect_plain(address, Duration::from_secs(60)).await
    }
}

/// The far end of a carried connection.
pub(super) enum Far {
    Tunnel(Tunnel),
    Plain(TcpStream),
}

/// Moves bytes until both ends are done, one breaks, a commit refuses the connection, or the time to drain is over. Whoever
/// still listens to an end that broke is told so.
pub(super) async fn carry(near: TcpStream, far: Far, drain: &drain::Watch, account: &mut Account) {
    let near = Plain(near);
    match far {
        Far::Tunnel(tunnel) => between(near, tunnel, drain, account).await,
        Far::Plain(stream) => between(near, Plain(stream), drain, account).await,
    }
}

/// The same where the tunnel is the client's side.
pub(super) async fn carry_in(
    tunnel: Tunnel,
    program: TcpStream,
    drain: &drain::Watch,
    account: &mut Account,
) {
    between(tunnel, Plain(program), drain, account).await;
}

async fn between<N: End, F: End>(mut near: N, mut far: F, drain: &drain::Watch, account: &mut Account) {
    let mut admission = account.take_admission();
    let transfer = tokio::select! {
        transfer = bidirectional(&mut near, &mut far) => transfer,
        why = revoked(&mut admission) => {
            account.failed(Outcome::Refused, why);
            near.break_off();
            far.break_off();
            return;
        }
        () = drain.reached(Phase::Forced) => {
            near.break_off();
            far.break_off();
            return;
        }
    };
    account.moved(&transfer);
    match transfer.ended {
        Ended::Closed { .. } => {}
        Ended::Broken { by: Side::Near, .. } => far.break_off(),
        Ended::Broken { by: Side::Far, .. } => near.break_off(),
    }
}

/// A stream that can be ended so that the other end sees that it broke.
trait End: ByteStream {
    fn break_off(self);
}

impl End for Tunnel {
    fn break_off(self) {
        self.reset();
    }
}

impl End for Plain<TcpStream> {
    fn break_off(self) {
        reset(self.0);
    }
}

/// Closes with RST, as a refused or broken connection ends.
pub(super) fn reset(stream: TcpStream) {
    // Fails for a socket that is closed already.
    let _ = stream.set_zero_linger();
}
