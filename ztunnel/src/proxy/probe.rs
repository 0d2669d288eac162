//! Connections of the node to a port that the pod's spec has kubelet probe, where nothing else is let in.

use super::Worker;
use super::account::{Account, Outcome};
use super::health;
use super::insecure;
use super::link::reset;
use super::metrics::Plaintext;
use super::worker::Here;
use crate::decide::{Asked, ProbeRefusal, asked};
use fairway_config::model::{HttpProbe, ProbeAction, Workload};
use fairway_hbone::{Ended, Side, Transfer};
use fairway_runtime::drain::{self, Phase};
use rustls_pki_types::ServerName;
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How long a connection may take to say what it asks; and a program to answer nobody.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that may ask what these probes do.
pub(super) struct Prober {
    probes: Vec<ProbeAction>,
    client: SocketAddr,
    destination: SocketAddr,
}

/// How a probe failed that was let in, or was not.
pub(super) enum Failure {
    Refused(ProbeRefusal),
    Program(io::Error),
    Client(io::Error),
}

/// What has been moved so far.
#[derive(Default)]
struct Moved {
    sent: u64,
    received: u64,
}

impl Prober {
    pub(super) fn new(pod: &Workload, client: SocketAddr, destination: SocketAddr) -> Self {
        let probes = pod.probes.iter().filter(|it| it.port == destination.port());
        Self { probes: probes.map(|it| it.action.clone()).collect(), client, destination }
    }

    /// What is asked once TLS is taken off.
    fn within_tls(&self) -> Vec<ProbeAction> {
        let within = |it: &ProbeAction| match it {
            ProbeAction::Http(http) if http.tls => {
                Some(ProbeAction::Http(HttpProbe { tls: false, ..http.clone() }))
            }
            ProbeAction::Http(_) | ProbeAction::Connect | ProbeAction::Grpc { .. } => None,
        };
        self.probes.iter().filter_map(within).collect()
    }
}

pub(super) async fn carry(
    worker: &Worker,
    here: &Here,
    mut near: TcpStream,
    prober: Prober,
    drain: &drain::Watch,
    account: &mut Account,
) {
    let mut bytes = Vec::new();
    let first = tokio::select! {
        first = timeout(PATIENCE, listen(&mut near, &prober.probes, prober.destination, &mut bytes)) => first,
        () = drain.reached(Phase::Forced) => return reset(near),
    };
    let first =
        first.unwrap_or_else(|_| match prober.probes.contains(&ProbeAction::Connect) && bytes.is_empty() {
            true => Asked::Connect,
            false => Asked::Refused(late(&prober.probes)),
        });
    if let Asked::Refused(refusal) = first {
        here.plaintext.count(Plaintext::refused);
        account.failed(Outcome::Refused, refusal);
        return reset(near);
    }
    if first == Asked::Connect {
        // That the connection was made is the answer: the kernel has refused it if nobody listens there.
        here.plaintext.count(Plaintext::probe);
        account.moved(&closed(Side::Near, &Moved::default()));
        return reset(near);
    }
    let wait = worker.settings.program_wait;
    let mut program = match here.from_pod.connect_as(prober.client.ip(), prober.destination, wait).await {
        Ok(program) => program,
        Err(error) => {
            here.plaintext.count(Plaintext::probe);
            account.failed(Outcome::Unreachable, format!("the program at {}: {error}", prober.destination));
            return reset(near);
        }
    };
    account.connected(None, "probe");
    let mut moved = Moved::default();
    let outcome = match first {
        Asked::Http { head } => {
            let answering = answer(&mut near, &mut program, &head, &prober, &mut moved);
            tokio::select! {
                outcome = answering => outcome,
                () = drain.reached(Phase::Forced) => { reset(program); return reset(near) },
            }
        }
        Asked::Grpc => {
            let checking = health::check(near, bytes, program, &prober.probes, prober.destination);
            let outcome = tokio::select! {
                outcome = timeout(health::PATIENCE, checking) => outcome,
                () = drain.reached(Phase::Forced) => return,
            };
            let late = |_| Err(Failure::Program(io::ErrorKind::TimedOut.into()));
            return end(here, account, outcome.unwrap_or_else(late), &moved);
        }
        _ => {
            let answering = Box::pin(answer_over_tls(near, bytes, program, &prober, &mut moved));
            let outcome = tokio::select! {
                outcome = answering => outcome,
                () = drain.reached(Phase::Forced) => return,
            };
            return end(here, account, outcome, &moved);
        }
    };
    let is_broken = outcome.is_err();
    end(here, account, outcome, &moved);
    if is_broken {
        reset(near);
        reset(program);
    }
}

fn end(here: &Here, account: &mut Account, outcome: Result<(), Failure>, moved: &Moved) {
    let refused = matches!(outcome, Err(Failure::Refused(_)));
    here.plaintext.count(if refused { Plaintext::refused } else { Plaintext::probe });
    let broken = |by, error| Ended::Broken { by, error };
    let ended = match outcome {
        Ok(()) => Ended::Closed { first: Side::Far },
        Err(Failure::Refused(refusal)) => return account.failed(Outcome::Refused, refusal),
        Err(Failure::Program(error)) => broken(Side::Far, error),
        Err(Failure::Client(error)) => broken(Side::Near, error),
    };
    account.moved(&Transfer { sent: moved.sent, received: moved.received, ended });
}

fn closed(first: Side, moved: &Moved) -> Transfer {
    Transfer { sent: moved.sent, received: moved.received, ended: Ended::Closed { first } }
}

/// Reads until it is clear what is asked.
async fn listen(
    near: &mut (impl AsyncRead + Unpin),
    probes: &[ProbeAction],
    destination: SocketAddr,
    bytes: &mut Vec<u8>,
) -> Asked {
    loop {
        let mut chunk = [0; 1024];
        // A client that breaks off has asked no more than one that closes.
        let read = near.read(&mut chunk).await.unwrap_or_default();
        bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
        match asked(probes, destination, bytes, read == 0) {
            Asked::Unclear => {}
            asked => return asked,
        }
    }
}

/// A probe over TLS: TLS ends here on both sides, for else it could not be seen what is asked.
async fn answer_over_tls(
    near: TcpStream,
    said: Vec<u8>,
    program: TcpStream,
    prober: &Prober,
    moved: &mut Moved,
) -> Result<(), Failure> {
    let tls = insecure::configurations().map_err(Failure::Client)?;
    let (read, write) = near.into_split();
    let near = tokio::io::join(Cursor::new(said).chain(read), write);
    let within = prober.within_tls();
    let asking = async {
        let mut near = TlsAcceptor::from(tls.server.clone()).accept(near).await.map_err(Failure::Client)?;
        let first = listen(&mut near, &within, prober.destination, &mut Vec::new()).await;
        match first {
            Asked::Http { head } => Ok((near, head)),
            Asked::Refused(refusal) => Err(Failure::Refused(refusal)),
            // No other kind of probe is spoken over TLS.
            Asked::Unclear | Asked::Connect | Asked::Grpc | Asked::Tls => {
                Err(Failure::Refused(ProbeRefusal::new(&prober.probes, "asks nothing within TLS".to_owned())))
            }
        }
    };
    let late = |_| Failure::Refused(late(&prober.probes));
    let (mut near, head) = timeout(PATIENCE, asking).await.map_err(late)??;
    // An address is no name that is told, which is how kubelet asks.
    let name = ServerName::from(prober.destination.ip());
    let connecting = TlsConnector::from(tls.client.clone()).connect(name, program);
    let connected = timeout(PATIENCE, connecting).await.map_err(|_| io::ErrorKind::TimedOut.into());
    let mut program = connected.and_then(|it| it).map_err(Failure::Program)?;
    answer(&mut near, &mut program, &head, prober, moved).await
}

/// Sends the one request, and carries what the program says. A client that says more is cut off.
async fn answer(
    near: &mut (impl AsyncRead + AsyncWrite + Unpin),
    program: &mut (impl AsyncRead + AsyncWrite + Unpin),
    head: &[u8],
    prober: &Prober,
    moved: &mut Moved,
) -> Result<(), Failure> {
    program.write_all(head).await.map_err(Failure::Program)?;
    program.flush().await.map_err(Failure::Program)?;
    moved.sent = head.len() as u64;
    let (mut from_client, mut to_client) = tokio::io::split(near);
    let (mut from_program, mut to_program) = tokio::io::split(program);
    let answering = async {
        let mut chunk = vec![0; 8 << 10];
        loop {
            let read = from_program.read(&mut chunk).await.map_err(Failure::Program)?;
            let read = chunk.get(..read).unwrap_or_default();
            if read.is_empty() {
                return to_client.shutdown().await.map_err(Failure::Client);
            }
            to_client.write_all(read).await.map_err(Failure::Client)?;
            to_client.flush().await.map_err(Failure::Client)?;
            moved.received += read.len() as u64;
        }
    };
    let more = async {
        match from_client.read(&mut [0; 1]).await {
            // It may have closed one half only. Kubelet never does: it has stopped waiting.
            Ok(0) => {
                let _ = to_program.shutdown().await;
                sleep(PATIENCE).await;
                Failure::Client(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(_) => {
                let asked = "goes on after its request".to_owned();
                Failure::Refused(ProbeRefusal::new(&prober.probes, asked))
            }
            Err(error) => Failure::Client(error),
        }
    };
    tokio::select! {
        biased;
        failure = more => Err(failure),
        outcome = answering => outcome,
    }
}

fn late(probes: &[ProbeAction]) -> ProbeRefusal {
    let asked = format!("has not finished what it asks within {} seconds", PATIENCE.as_secs());
    ProbeRefusal::new(probes, asked)
}

#[cfg(test)]
mod tests;
