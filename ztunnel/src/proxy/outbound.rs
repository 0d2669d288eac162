//! Outbound connections of a local pod: to a waypoint, to an endpoint, or straight to the original destination.

use super::account::Account;
use super::budget::SocketPermit;
use super::prerequisites::{self, NoIdentity, wait_for_identity};
use super::relay::{self, Upstream, reset};
use super::upstreams::{ATTEMPT_DELAY, Attempt};
use super::worker::WorkerPod;
use super::{Direction, Worker};
use crate::decide::{self, CandidateSet, Established, Hop, Index, Outbound, OutboundRefusal, Path};
use fairway_config::model::Generation;
use fairway_hbone::{ConnectRequest, OpenError, Routing, Target};
use fairway_netns::socket;
use fairway_runtime::drain;
use fairway_telemetry::{Outcome, Plaintext};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Endpoints that are tried for one connection.
const ATTEMPTS: usize = 3;
/// Pause before a peer whose tunnel does not listen is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Why a connection has no upstream.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the original destination is not known: {0}")]
    Destination(#[source] io::Error),
    #[error("the configuration does not know the pod")]
    UnknownPod,
    #[error(transparent)]
    Refused(#[from] OutboundRefusal),
    #[error("no certificate was issued for the pod in time")]
    NoIdentity,
    #[error(transparent)]
    Tunnel(#[from] OpenError),
    #[error("cannot connect to {0}: {1}")]
    Plain(SocketAddr, #[source] io::Error),
    #[error("the waypoint has no endpoint with an identity")]
    NoHop,
}

struct Connected {
    upstream: Upstream,
    /// Who is at the end of a tunnel, and where.
    peer: Option<Target>,
    via: &'static str,
    // Counts as load of the endpoint.
    _attempt: Option<Attempt>,
}

pub(super) async fn carry(
    worker: Rc<Worker>,
    local: Rc<WorkerPod>,
    downstream: TcpStream,
    client: SocketAddr,
    drain: drain::Watch,
    _permit: SocketPermit,
) {
    let mut account = Account::open(&worker, &local, Direction::Outbound, client);
    // Boxed: connecting needs far more memory than relaying, and is soon over.
    let connected = Box::pin(connect(&worker, &local, &downstream, client, &mut account)).await;
    match connected {
        Ok(Connected { upstream, peer, via, _attempt }) => {
            if matches!(upstream, Upstream::Plain(_)) {
                worker.recorder.count_plaintext(&local.plaintext, Plaintext::Sent);
            }
            let tunnel = peer.as_ref().map(|it| (it.address.ip(), it.identity.clone()));
            if let Some(peer) = peer {
                account.authenticated(peer.identity);
            }
            if let Err(revoked) = account.admit(Established::Outgoing { far: tunnel }) {
                account.revoked(Outcome::Refused, &revoked);
                return reset(downstream);
            }
            account.connected(via);
            relay::relay_outbound(downstream, upstream, &drain, &mut account).await;
        }
        Err(failure) => {
            account.refused(failure.outcome(), failure.reason(), failure);
            // RST: the client sees a refusal, as it would without the tunnel. A FIN would look like an empty answer.
            reset(downstream);
        }
    }
}

async fn connect(
    worker: &Rc<Worker>,
    local: &Rc<WorkerPod>,
    downstream: &TcpStream,
    client: SocketAddr,
    account: &mut Account,
) -> Result<Connected, Failure> {
    let destination = socket::original_destination(downstream).map_err(Failure::Destination)?;
    let until = Instant::now() + worker.settings.peer_timeout;
    loop {
        let index = prerequisites::wait_for_index(worker, &local.pod).await;
        let (plan, generation) = plan(&index, local, destination)?;
        account.decided(generation, destination, index.backend_at(destination).cloned());
        drop(index);
        let connected = match plan {
            Outbound::Refuse(refusal) => Err(refusal.into()),
            Outbound::Passthrough => {
                let stream =
                    local.connector.connect_plain(destination, worker.settings.client.connect_timeout).await;
                let stream = stream.map_err(|error| Failure::Plain(destination, error))?;
                Ok(Connected {
                    upstream: Upstream::Plain(stream),
                    peer: None,
                    via: "passthrough",
                    _attempt: None,
                })
            }
            Outbound::Forward { path, candidates } => {
                forward(worker, local, client, destination, &path, &candidates).await
            }
        };
        match connected {
            // The tunnel of the peer's node is restarting or about to capture the peer, or the peer is gone and the
            // configuration is about to say so.
            Err(failure) if failure.is_no_tunnel_yet() && Instant::now() < until => sleep(RETRY_DELAY).await,
            connected => return connected,
        }
    }
}

fn plan(
    index: &Index,
    local: &WorkerPod,
    destination: SocketAddr,
) -> Result<(Outbound, Generation), Failure> {
    let client = prerequisites::find_workload(index, &local.pod).ok_or(Failure::UnknownPod)?;
    Ok((decide::outbound(index, client, destination), index.generation()))
}

async fn forward(
    worker: &Rc<Worker>,
    local: &Rc<WorkerPod>,
    client: SocketAddr,
    dialled: SocketAddr,
    path: &Path,
    candidates: &CandidateSet,
) -> Result<Connected, Failure> {
    let mut tried = Vec::new();
    // The next endpoint to try, and how to get there.
    let mut next_hop = || {
        while tried.len() < ATTEMPTS {
            let endpoint = local.upstreams.pick(candidates, client.ip(), &mut tried)?;
            if let Some(hop) = path.hop(endpoint, dialled) {
                return Some((endpoint.address, hop));
            }
        }
        None
    };
    let connect = |(address, hop)| async move {
        let mut attempt = local.upstreams.begin(address);
        match reach(worker, local, client, path, hop).await {
            Ok((upstream, peer)) => {
                attempt.succeed();
                let via = match (path, &upstream) {
                    (Path::Waypoint(_), _) => "waypoint",
                    (_, Upstream::Tunnel(_)) => "tunnel",
                    (_, Upstream::Plain(_)) => "plain",
                };
                Ok(Connected { upstream, peer, via, _attempt: Some(attempt) })
            }
            Err(failure) => {
                if failure.may_try_another() {
                    attempt.fail()
                } else {
                    attempt.cancel()
                }
                Err(failure)
            }
        }
    };
    let mut failure = Failure::NoHop;
    let mut attempts: FuturesUnordered<_> = next_hop().map(connect).into_iter().collect();
    let mut is_last = false;
    loop {
        tokio::select! {
            biased;
            ended = attempts.next() => match ended {
                None => return Err(failure),
                // An endpoint that has not accepted has not seen a byte from the client, so another one may be used.
                Some(Err(error)) if error.may_try_another() => failure = error,
                Some(ended) => return ended,
            },
            // The endpoint may be on a node that is gone. The first to accept is used (RFC 8305, section 5).
            () = sleep(ATTEMPT_DELAY), if !is_last => {}
        }
        let next = next_hop();
        is_last = next.is_none();
        attempts.extend(next.map(connect));
    }
}

async fn reach(
    worker: &Rc<Worker>,
    local: &Rc<WorkerPod>,
    client: SocketAddr,
    path: &Path,
    hop: Hop,
) -> Result<(Upstream, Option<Target>), Failure> {
    match hop {
        Hop::Plain(address) => {
            let wait = worker.settings.client.connect_timeout;
            let stream = local.connector.connect_plain(address, wait).await;
            Ok((Upstream::Plain(stream.map_err(|error| Failure::Plain(address, error))?), None))
        }
        Hop::Tunnel { target, authority } => {
            let tls = wait_for_identity(worker, local).await?;
            // A waypoint learns the client's address and node only from these headers.
            let (forwarded, node) = match path {
                Path::Waypoint(_) => {
                    (Some(fairway_hbone::Forwarded { client }), Some(worker.settings.node.clone()))
                }
                Path::Endpoint(_) | Path::Pod => (None, None),
            };
            let request =
                ConnectRequest { authority, forwarded, node, traceparent: None, routing: Routing::Pending };
            let tunnel = local.pool.open(&tls, &target, &request).await?;
            Ok((Upstream::Tunnel(tunnel), Some(target)))
        }
    }
}

impl Failure {
    fn outcome(&self) -> Outcome {
        match self {
            Self::UnknownPod | Self::Refused(_) | Self::Tunnel(OpenError::Refused { .. }) => Outcome::Refused,
            Self::NoIdentity => Outcome::NoIdentity,
            Self::Destination(_) | Self::Tunnel(_) | Self::Plain(..) | Self::NoHop => Outcome::Unreachable,
        }
    }

    /// The word for the access log.
    fn reason(&self) -> &'static str {
        match self {
            Self::Destination(_) => "unknown_destination",
            Self::UnknownPod => "unknown_pod",
            Self::Refused(refusal) => refusal.reason(),
            Self::NoIdentity => "no_identity",
            // The far end refuses it: its own log says why.
            Self::Tunnel(OpenError::Refused { .. }) => "refused",
            Self::Tunnel(_) | Self::Plain(..) => "unreachable",
            Self::NoHop => "no_endpoint",
        }
    }

    /// Whether nothing listens on the HBONE port of the peer.
    fn is_no_tunnel_yet(&self) -> bool {
        match self {
            Self::Tunnel(OpenError::Connect { source, .. }) => {
                source.kind() == io::ErrorKind::ConnectionRefused
            }
            _ => false,
        }
    }

    fn may_try_another(&self) -> bool {
        match self {
            Self::Tunnel(OpenError::Refused { status, .. }) => {
                *status == http::StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Tunnel(error) => error.was_not_connected(),
            Self::Plain(..) | Self::NoHop => true,
            Self::Destination(_) | Self::UnknownPod | Self::Refused(_) | Self::NoIdentity => false,
        }
    }
}

impl From<NoIdentity> for Failure {
    fn from(_: NoIdentity) -> Self {
        Self::NoIdentity
    }
}
