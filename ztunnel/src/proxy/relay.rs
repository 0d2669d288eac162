//! Relaying bytes between the two ends of a connection.

use super::account::Account;
use super::program_socket::Program;
use super::revocation::revoked;
use fairway_hbone::copy::{ByteStream, Plain};
use fairway_hbone::{Ended, Side, Tunnel, bidirectional};
use fairway_runtime::drain::{self, Phase};
use fairway_telemetry::Outcome;
use tokio::net::TcpStream;

/// The upstream end of a connection.
pub(super) enum Upstream {
    Tunnel(Tunnel),
    Plain(TcpStream),
}

/// Relays bytes from a program in the pod until both directions are closed, one end fails, a commit refuses the connection, or the drain
/// forces the end. If one end fails, the other one is reset.
pub(super) async fn relay_outbound(
    program: TcpStream,
    upstream: Upstream,
    drain: &drain::Watch,
    account: &mut Account,
) {
    let program = Program::new(program);
    match upstream {
        Upstream::Tunnel(tunnel) => copy(program, tunnel, drain, account).await,
        Upstream::Plain(stream) => copy(program, Plain(stream), drain, account).await,
    }
}

/// Relays bytes between a client without mTLS, which may be far away, and the application in the pod.
pub(super) async fn relay_plaintext(
    client: TcpStream,
    application: TcpStream,
    drain: &drain::Watch,
    account: &mut Account,
) {
    copy(Plain(client), Program::new(application), drain, account).await;
}

/// Relays bytes between a peer's tunnel (downstream) and the application in the pod (upstream).
pub(super) async fn relay_inbound(
    tunnel: Tunnel,
    application: TcpStream,
    drain: &drain::Watch,
    account: &mut Account,
) {
    copy(tunnel, Program::new(application), drain, account).await;
}

async fn copy<D: Reset, U: Reset>(
    mut downstream: D,
    mut upstream: U,
    drain: &drain::Watch,
    account: &mut Account,
) {
    let mut admission = account.take_admission();
    let transfer = tokio::select! {
        transfer = bidirectional(&mut downstream, &mut upstream) => transfer,
        why = revoked(&mut admission) => {
            account.revoked(Outcome::Revoked, &why);
            downstream.reset();
            upstream.reset();
            return;
        }
        () = drain.reached(Phase::Forced) => {
            downstream.reset();
            upstream.reset();
            return;
        }
    };
    account.moved(&transfer);
    match transfer.ended {
        Ended::Closed { .. } => {}
        Ended::Broken { by: Side::Near, .. } => upstream.reset(),
        Ended::Broken { by: Side::Far, .. } => downstream.reset(),
    }
}

/// A stream whose end can be made visible as a failure: RST for TCP, RST_STREAM for a tunnel.
trait Reset: ByteStream {
    fn reset(self);
}

impl Reset for Tunnel {
    fn reset(self) {
        Tunnel::reset(self);
    }
}

impl Reset for Plain<TcpStream> {
    fn reset(self) {
        reset(self.0);
    }
}

impl Reset for Program {
    fn reset(self) {
        reset(self.into_stream());
    }
}

/// Closes with RST. The peer sees a refused or broken connection, not an empty answer.
pub(super) fn reset(stream: TcpStream) {
    reset_on_close(&stream);
}

/// Like [`reset`], once the stream is dropped.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // Fails only for a socket that is closed already.
    let _ = stream.set_zero_linger();
}
