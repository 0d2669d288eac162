//! A connection of a local pod: to a waypoint, an endpoint, or wherever it was going.

use super::account::{Account, Outcome};
use super::acquaintance::{self, NoIdentity, identity};
use super::budget::Accepted;
use super::link::{self, Far, reset};
use super::metrics::Plaintext;
use super::worker::Here;
use super::{Door, Worker};
use crate::decide::{self, Choice, Established, Hop, Index, Outbound, OutboundRefusal, Path, Reachable};
use fairway_config::model::Generation;
use fairway_hbone::{ConnectRequest, OpenError, Routing, Target};
use fairway_netns::socket;
use fairway_runtime::drain;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::seq::index::sample;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Endpoints that are tried for one connection.
const TRIES: usize = 3;
/// How long an endpoint has to itself before another is tried beside it.
const NEXT: Duration = Duration::from_secs(1);
/// How long before a peer without a tunnel is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// Why a connection did not get anywhere.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("its original destination is not known: {0}")]
    Destination(#[source] io::Error),
    #[error("the configuration in force holds no such pod")]
    UnknownPod,
    #[error(transparent)]
    Refused(#[from] OutboundRefusal),
    #[error("no identity in time")]
    NoIdentity,
    #[error(transparent)]
    Tunnel(#[from] OpenError),
    #[error("cannot connect to {0}: {1}")]
    Plain(SocketAddr, #[source] io::Error),
    #[error("the waypoint has no endpoint with an identity")]
    NoHop,
}

/// A connection that got somewhere.
struct Connected {
    far: Far,
    /// Who is at the end of a tunnel, and where.
    peer: Option<Target>,
    way: &'static str,
    // Counts it on its endpoint while it lives.
    _busy: Option<Busy>,
}

pub(super) async fn carry(
    worker: Rc<Worker>,
    here: Rc<Here>,
    near: TcpStream,
    client: SocketAddr,
    drain: drain::Watch,
    _accepted: Accepted,
) {
    let mut account = Account::open(&worker, &here.pod, Door::Outbound, client);
    // Boxed: connecting takes much more state than what comes after it, and is soon over.
    let connected = Box::pin(connect(&worker, &here, &near, client, &mut account)).await;
    match connected {
        Ok(Connected { far, peer, way, _busy }) => {
            if matches!(far, Far::Plain(_)) {
                here.plaintext.count(Plaintext::sent);
            }
            let tunnel = peer.as_ref().map(|it| (it.address.ip(), it.identity.clone()));
            if let Err(revoked) = account.admit(Established::Outgoing { far: tunnel }) {
                account.failed(Outcome::Refused, revoked);
                return reset(near);
            }
            account.connected(peer.map(|it| it.identity), way);
            link::carry(near, far, &drain, &mut account).await;
        }
        Err(failure) => {
            account.failed(failure.outcome(), failure);
            // Refused, as the client would see it without us; a clean close would look like an empty answer.
            reset(near);
        }
    }
}

async fn connect(
    worker: &Rc<Worker>,
    here: &Rc<Here>,
    near: &TcpStream,
    client: SocketAddr,
    account: &mut Account,
) -> Result<Connected, Failure> {
    let destination = socket::original_destination(near).map_err(Failure::Destination)?;
    let until = Instant::now() + worker.settings.peer_wait;
    loop {
        let index = acquaintance::index_with(worker, &here.pod).await;
        let (plan, generation) = plan(&index, here, destination)?;
        drop(index);
        account.decided(generation, destination);
        let connected = match plan {
            Outbound::Refuse(refusal) => Err(refusal.into()),
            Outbound::Passthrough => {
                let stream =
                    here.from_pod.connect_plain(destination, worker.settings.client.connect_timeout).await;
                let stream = stream.map_err(|error| Failure::Plain(destination, error))?;
                Ok(Connected { far: Far::Plain(stream), peer: None, way: "passthrough", _busy: None })
            }
            Outbound::Forward { path, choice } => {
                forward(worker, here, client, destination, &path, &choice).await
            }
        };
        match connected {
            // Its node's tunnel starts again, or is about to capture it, or the configuration is about to say that it is gone.
            Err(failure) if failure.is_no_tunnel_yet() && Instant::now() < until => sleep(AGAIN).await,
            connected => return connected,
        }
    }
}

fn plan(index: &Index, here: &Here, destination: SocketAddr) -> Result<(Outbound, Generation), Failure> {
    let client = acquaintance::workload(index, &here.pod).ok_or(Failure::UnknownPod)?;
    Ok((decide::outbound(index, client, destination), index.generation()))
}

async fn forward(
    worker: &Rc<Worker>,
    here: &Rc<Here>,
    client: SocketAddr,
    dialled: SocketAddr,
    path: &Path,
    choice: &Choice,
) -> Result<Connected, Failure> {
    let preferred = here.preferred(choice, client.ip()).into_iter();
    let mut hops = preferred.filter_map(|it| Some((it.address, path.hop(it, dialled)?))).peekable();
    let attempt = |(endpoint, hop)| async move {
        let busy = Busy::on(here, endpoint);
        let (far, peer) = reach(worker, here, client, path, hop).await?;
        let way = match (path, &far) {
            (Path::Waypoint(_), _) => "waypoint",
            (_, Far::Tunnel(_)) => "tunnel",
            (_, Far::Plain(_)) => "plain",
        };
        Ok::<_, Failure>(Connected { far, peer, way, _busy: Some(busy) })
    };
    let mut failure = Failure::NoHop;
    let mut under_way: FuturesUnordered<_> = hops.next().map(attempt).into_iter().collect();
    loop {
        tokio::select! {
            biased;
            ended = under_way.next() => match ended {
                None => return Err(failure),
                // What was not accepted has not seen a byte of the client's, so that somebody else may have it.
                Some(Err(error)) if error.may_try_another() => failure = error,
                Some(ended) => return ended,
            },
            // It may be on a node that is gone; whoever is first has the connection (as in RFC 8305 §5).
            () = sleep(NEXT), if hops.peek().is_some() => {}
        }
        under_way.extend(hops.next().map(attempt));
    }
}

async fn reach(
    worker: &Rc<Worker>,
    here: &Rc<Here>,
    client: SocketAddr,
    path: &Path,
    hop: Hop,
) -> Result<(Far, Option<Target>), Failure> {
    match hop {
        Hop::Plain(address) => {
            let wait = worker.settings.client.connect_timeout;
            let stream = here.from_pod.connect_plain(address, wait).await;
            Ok((Far::Plain(stream.map_err(|error| Failure::Plain(address, error))?), None))
        }
        Hop::Tunnel { target, authority } => {
            let tls = identity(worker, here).await?;
            // A waypoint sees the client's address, and where it is, only if it is told.
            let (forwarded, node) = match path {
                Path::Waypoint(_) => {
                    (Some(fairway_hbone::Forwarded { client }), Some(worker.settings.node.clone()))
                }
                Path::Endpoint(_) | Path::Pod => (None, None),
            };
            let request =
                ConnectRequest { authority, forwarded, node, traceparent: None, routing: Routing::Pending };
            let tunnel = here.pool.open(&tls, &target, &request).await?;
            Ok((Far::Tunnel(tunnel), Some(target)))
        }
    }
}

/// One more connection on an endpoint, while it lives.
struct Busy {
    here: Rc<Here>,
    address: SocketAddr,
}

impl Busy {
    fn on(here: &Rc<Here>, address: SocketAddr) -> Self {
        *here.busy.borrow_mut().entry(address).or_default() += 1;
        Self { here: here.clone(), address }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut busy = self.here.busy.borrow_mut();
        if let Some(count) = busy.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.address);
            }
        }
    }
}

impl Here {
    /// A few endpoints in the order they are tried: the client's own, or the less busy of two drawn at random, then the
    /// rest of the draw.
    fn preferred<'a>(&self, choice: &'a Choice, client: IpAddr) -> Vec<&'a Reachable> {
        if let Some(mut order) = choice.in_order_for(client) {
            order.truncate(TRIES);
            return order;
        }
        let choice = choice.endpoints();
        let drawn = sample(&mut rand::rng(), choice.len(), TRIES.min(choice.len()));
        let mut drawn: Vec<&Reachable> = drawn.iter().filter_map(|index| choice.get(index)).collect();
        let busy = self.busy.borrow();
        let load = |it: &Reachable| busy.get(&it.address).copied().unwrap_or(0);
        if let [first, second, ..] = &mut drawn[..]
            && load(second) < load(first)
        {
            std::mem::swap(first, second);
        }
        drawn
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

    /// Nobody listens where the far end's tunnel should.
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
