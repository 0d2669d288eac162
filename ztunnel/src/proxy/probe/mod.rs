//! Kubelet's probes of a pod that accepts no plaintext: only a probe of the pod's spec reaches the application.

mod grpc;
mod tls;

use super::Worker;
use super::account::Account;
use super::relay::{reset, reset_on_close};
use super::worker::WorkerPod;
use crate::decide::{ProbeRefusal, ProbeRequest, classify};
use fairway_config::model::{HttpProbe, ProbeAction, Workload};
use fairway_hbone::{Ended, Side, Transfer};
use fairway_runtime::drain::{self, Phase};
use fairway_telemetry::{Outcome, Plaintext};
use rustls_pki_types::ServerName;
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Time for a client to send its request, and for the application to answer after the client has closed its half.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that may carry one of these probes.
pub(super) struct Prober {
    probes: Vec<ProbeAction>,
    client: SocketAddr,
    destination: SocketAddr,
}

/// Why a probe was refused or has failed.
pub(super) enum Failure {
    Refused(ProbeRefusal),
    Application(io::Error),
    Client(io::Error),
}

/// Bytes relayed so far.
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

    /// The probes that may come inside TLS.
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

/// Carries a probe. Whoever owns the connection closes it.
pub(super) async fn carry(
    worker: &Worker,
    local: &WorkerPod,
    downstream: &mut TcpStream,
    prober: Prober,
    drain: &drain::Watch,
    account: &mut Account,
) {
    let mut bytes = Vec::new();
    let first = tokio::select! {
        first = timeout(TIMEOUT, read_request(downstream, &prober.probes, prober.destination, &mut bytes)) => first,
        () = drain.reached(Phase::Forced) => return reset_on_close(downstream),
    };
    let first =
        first.unwrap_or_else(|_| match prober.probes.contains(&ProbeAction::Connect) && bytes.is_empty() {
            true => ProbeRequest::Connect,
            false => ProbeRequest::Refused(late(&prober.probes)),
        });
    if let ProbeRequest::Refused(refusal) = first {
        worker.recorder.count_plaintext(&local.plaintext, Plaintext::Refused);
        account.refused(Outcome::Refused, "probes_only", refusal);
        return reset_on_close(downstream);
    }
    if first == ProbeRequest::Connect {
        // An established connection is the answer to a TCP probe: the kernel refuses it if the application does not listen.
        worker.recorder.count_plaintext(&local.plaintext, Plaintext::Probe);
        account.moved(&close(Side::Near, &Moved::default()));
        return reset_on_close(downstream);
    }
    let wait = worker.settings.program_timeout;
    let mut application = match local.connector.connect_as(prober.client.ip(), prober.destination, wait).await
    {
        Ok(application) => application,
        Err(error) => {
            worker.recorder.count_plaintext(&local.plaintext, Plaintext::Probe);
            let detail = format!("the application at {}: {error}", prober.destination);
            account.refused(Outcome::Unreachable, "unreachable", detail);
            return reset_on_close(downstream);
        }
    };
    account.connected("probe");
    let mut moved = Moved::default();
    let outcome = match first {
        ProbeRequest::Http { head } => {
            let answering = answer(downstream, &mut application, &head, &prober, &mut moved);
            tokio::select! {
                outcome = answering => outcome,
                () = drain.reached(Phase::Forced) => { reset(application); return reset_on_close(downstream) },
            }
        }
        ProbeRequest::Grpc => {
            let checking =
                grpc::check(&mut *downstream, bytes, application, &prober.probes, prober.destination);
            let outcome = tokio::select! {
                outcome = timeout(grpc::TIMEOUT, checking) => outcome,
                () = drain.reached(Phase::Forced) => return reset_on_close(downstream),
            };
            let late = |_| Err(Failure::Application(io::ErrorKind::TimedOut.into()));
            return finish(worker, local, account, outcome.unwrap_or_else(late), &moved);
        }
        _ => {
            let answering =
                Box::pin(answer_over_tls(&mut *downstream, bytes, application, &prober, &mut moved));
            let outcome = tokio::select! {
                outcome = answering => outcome,
                () = drain.reached(Phase::Forced) => return reset_on_close(downstream),
            };
            return finish(worker, local, account, outcome, &moved);
        }
    };
    let is_broken = outcome.is_err();
    finish(worker, local, account, outcome, &moved);
    if is_broken {
        reset_on_close(downstream);
        reset(application);
    }
}

fn finish(
    worker: &Worker,
    local: &WorkerPod,
    account: &mut Account,
    outcome: Result<(), Failure>,
    moved: &Moved,
) {
    let refused = matches!(outcome, Err(Failure::Refused(_)));
    worker
        .recorder
        .count_plaintext(&local.plaintext, if refused { Plaintext::Refused } else { Plaintext::Probe });
    let broken = |by, error| Ended::Broken { by, error };
    let ended = match outcome {
        Ok(()) => Ended::Closed { first: Side::Far },
        Err(Failure::Refused(refusal)) => return account.refused(Outcome::Refused, "probes_only", refusal),
        Err(Failure::Application(error)) => broken(Side::Far, error),
        Err(Failure::Client(error)) => broken(Side::Near, error),
    };
    account.moved(&Transfer { sent: moved.sent, received: moved.received, ended });
}

fn close(first: Side, moved: &Moved) -> Transfer {
    Transfer { sent: moved.sent, received: moved.received, ended: Ended::Closed { first } }
}

/// Reads until the request is complete or refused. Everything read is appended to `bytes`.
async fn read_request(
    downstream: &mut (impl AsyncRead + Unpin),
    probes: &[ProbeAction],
    destination: SocketAddr,
    bytes: &mut Vec<u8>,
) -> ProbeRequest {
    loop {
        let mut chunk = [0; 1024];
        // An error counts as the end of the request.
        let read = downstream.read(&mut chunk).await.unwrap_or_default();
        bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
        match classify(probes, destination, bytes, read == 0) {
            ProbeRequest::Incomplete => {}
            request => return request,
        }
    }
}

/// A probe over TLS. The tunnel terminates TLS and opens it again, because the request has to be seen.
async fn answer_over_tls(
    downstream: &mut TcpStream,
    already_read: Vec<u8>,
    application: TcpStream,
    prober: &Prober,
    moved: &mut Moved,
) -> Result<(), Failure> {
    let tls = tls::configurations().map_err(Failure::Client)?;
    let (read, write) = downstream.split();
    let downstream = tokio::io::join(Cursor::new(already_read).chain(read), write);
    let within = prober.within_tls();
    let asking = async {
        let mut downstream =
            TlsAcceptor::from(tls.server.clone()).accept(downstream).await.map_err(Failure::Client)?;
        let first = read_request(&mut downstream, &within, prober.destination, &mut Vec::new()).await;
        match first {
            ProbeRequest::Http { head } => Ok((downstream, head)),
            ProbeRequest::Refused(refusal) => Err(Failure::Refused(refusal)),
            // Kubelet sends only HTTP probes over TLS.
            ProbeRequest::Incomplete | ProbeRequest::Connect | ProbeRequest::Grpc | ProbeRequest::Tls => {
                Err(Failure::Refused(ProbeRefusal::new(&prober.probes, "asks nothing within TLS".to_owned())))
            }
        }
    };
    let late = |_| Failure::Refused(late(&prober.probes));
    let (mut downstream, head) = timeout(TIMEOUT, asking).await.map_err(late)??;
    // Like kubelet: an IP address is not sent as SNI.
    let name = ServerName::from(prober.destination.ip());
    let connecting = TlsConnector::from(tls.client.clone()).connect(name, application);
    let connected = timeout(TIMEOUT, connecting).await.map_err(|_| io::ErrorKind::TimedOut.into());
    let mut application = connected.and_then(|it| it).map_err(Failure::Application)?;
    answer(&mut downstream, &mut application, &head, prober, moved).await
}

/// Sends the request and relays the response. A client that sends more is refused.
async fn answer(
    downstream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    application: &mut (impl AsyncRead + AsyncWrite + Unpin),
    head: &[u8],
    prober: &Prober,
    moved: &mut Moved,
) -> Result<(), Failure> {
    application.write_all(head).await.map_err(Failure::Application)?;
    application.flush().await.map_err(Failure::Application)?;
    moved.sent = head.len() as u64;
    let (mut from_client, mut to_client) = tokio::io::split(downstream);
    let (mut from_application, mut to_application) = tokio::io::split(application);
    let answering = async {
        let mut chunk = vec![0; 8 << 10];
        loop {
            let read = from_application.read(&mut chunk).await.map_err(Failure::Application)?;
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
            // The client has closed its half, which kubelet does only when it has stopped waiting.
            Ok(0) => {
                let _ = to_application.shutdown().await;
                sleep(TIMEOUT).await;
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
    let asked = format!("has not finished what it asks within {} seconds", TIMEOUT.as_secs());
    ProbeRefusal::new(probes, asked)
}

#[cfg(test)]
mod tests;
