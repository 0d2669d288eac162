//! From one version of the tunnel to the next without a connection lost.
//!
//! The next version asks the one that runs, at the registration socket, for the captured pods and their sockets: the very
//! sockets, as descriptors, so that at no time nobody listens, and a connection that waits to be accepted does not care
//! by whom. When it serves them it says so; from then on the old one takes nothing new and only carries what is open until
//! that ends. Should the next version go before the old one is told to end, the old one is on duty again.
//!
//! ```text
//!     next ── TakeOver ──▶ old
//!          ◀─ Captured ──     for each pod, with its namespace and its three sockets
//!          ◀── Taken ────     with the registration socket
//!          ── Serving ──▶     the old one stops accepting, and tells its peers (GOAWAY)
//!               …             the connection stays open: its end tells that the next version is gone
//! ```

use crate::pod::{Candidate, Claim, Legacy, Netns, PodEvent};
use crate::proxy::Listeners;
use crate::register::{Ask, Client, Office, RegisterError, Reply, Server, frame, unexpected};
use fairway_config::model::WorkloadKey;
use fairway_netns::Namespace;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

/// How long the next version may take to serve what it was shown.
const PATIENCE: Duration = Duration::from_secs(30);

/// The containers of a pod are told to end at the same moment; give or take this.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Who is on duty on the node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Duty {
    now: watch::Sender<OnDuty>,
    /// The pod that this tunnel runs in.
    pod: Arc<str>,
    /// When it was said last, in this pod, that the mesh stays on the node.
    stays: watch::Sender<Option<Instant>>,
}

/// Who is on duty on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuty {
    /// This tunnel.
    This,
    /// Its next version.
    Next,
    /// Nobody: the mesh has left the node.
    Nobody,
}

/// What the tunnel before this one has left.
#[derive(Debug)]
pub struct Estate {
    pods: Vec<Legacy>,
    /// The socket at which pods are registered.
    pub server: Server,
    predecessor: Client,
}

/// Held as long as this tunnel is on duty: its end tells the one before.
#[derive(Debug)]
pub struct Successor {
    _predecessor: Client,
}

/// Why nothing could be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// The tunnel before this one does not answer as it should.
    #[error("the tunnel that runs here does not hand over: {0}")]
    Register(#[from] RegisterError),
    /// What it sent cannot be used.
    #[error("what was handed over cannot be used: {0}")]
    Unusable(#[from] io::Error),
    /// It takes too long.
    #[error("the tunnel that runs here does not hand over in time")]
    Late,
}

// === impl Duty ===

impl Default for Duty {
    fn default() -> Self {
        Self::in_pod("")
    }
}

impl Duty {
    /// That of a tunnel in the pod of this name.
    pub fn in_pod(name: &str) -> Self {
        Self { now: watch::Sender::new(OnDuty::This), pod: name.into(), stays: watch::Sender::new(None) }
    }

    /// Who is now, and every change of that.
    pub fn watch(&self) -> watch::Receiver<OnDuty> {
        self.now.subscribe()
    }

    /// Waits until it is this tunnel.
    pub(crate) async fn ours(&self) {
        let _ = self.now.subscribe().wait_for(|now| *now == OnDuty::This).await;
    }

    /// From now on it is nobody.
    pub(crate) fn end(&self) {
        self.now.send_replace(OnDuty::Nobody);
    }

    /// It was said in a pod, which ends, that the mesh stays. In the pod of the tunnel before this one it was said of that one:
    /// this one may have to let its pods go a moment later.
    pub(crate) fn stay(&self, pod: &str) {
        if pod == &*self.pod {
            self.stays.send_replace(Some(Instant::now()));
        }
    }

    /// Waits until it is known what becomes of the pods when this tunnel ends: that the mesh stays, that it has left, or
    /// that the next tunnel has them.
    pub(crate) async fn settled(&self) {
        let (mut now, mut stays) = (self.now.subscribe(), self.stays.subscribe());
        tokio::select! {
            _ = now.wait_for(|now| *now != OnDuty::This) => {}
            // What was said when the installer alone ended does not count.
            _ = stays.wait_for(|at| at.is_some_and(|at| at.elapsed() < AT_ONCE)) => {}
        }
    }
}

// === impl Estate ===

impl Estate {
    /// Asks the tunnel that runs here, if there is one, for what it has. Nothing changes for that one yet.
    pub async fn claim(socket: &Path) -> Result<Option<Self>, TakeOverError> {
        let mut predecessor = match Client::connect(socket).await {
            Ok(predecessor) => predecessor,
            // Nobody is there.
            Err(_) => return Ok(None),
        };
        predecessor.send(&Ask::TakeOver, &[]).await?;
        timeout(PATIENCE, Self::receive(predecessor)).await.unwrap_or(Err(TakeOverError::Late)).map(Some)
    }

    async fn receive(mut predecessor: Client) -> Result<Self, TakeOverError> {
        let mut pods = Vec::new();
        loop {
            let (reply, along) = predecessor.receive().await?;
            match reply {
                Reply::Captured { uid, pod, addresses } => pods.push(legacy(uid, pod, addresses, along)?),
                Reply::Taken => {
                    let socket = along.into_iter().next();
                    let socket = socket.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
                    return Ok(Self { pods, server: Server::inherit(socket)?, predecessor });
                }
                other => return Err(unexpected(&other).into()),
            }
        }
    }

    /// Serves the pods, then tells the tunnel before. Gives the registration socket.
    pub async fn take(
        self,
        to: &tokio::sync::mpsc::Sender<PodEvent>,
    ) -> Result<(Server, Successor), TakeOverError> {
        let Self { pods, server, mut predecessor } = self;
        let mut outcomes = Vec::new();
        for Legacy { pod, sockets } in pods {
            let (done, outcome) = oneshot::channel();
            let key = pod.key.clone();
            if to.send(PodEvent::Inherited { pod, sockets, done }).await.is_ok() {
                outcomes.push((key, outcome));
            }
        }
        for (key, outcome) in outcomes {
            match outcome.await {
                Ok(Ok(state)) => tracing::info!(pod = %key, ?state, "taken over"),
                Ok(Err(error)) => tracing::error!(pod = %key, %error, "cannot be taken over"),
                Err(_) => {}
            }
        }
        predecessor.send(&Ask::Serving, &[]).await?;
        Ok((server, Successor { _predecessor: predecessor }))
    }
}

fn legacy(
    uid: String,
    pod: String,
    addresses: Vec<std::net::IpAddr>,
    along: Vec<OwnedFd>,
) -> io::Result<Legacy> {
    let [netns, outbound, plaintext, hbone] =
        <[OwnedFd; 4]>::try_from(along).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Legacy {
        pod: Candidate {
            uid: uid.into(),
            key: WorkloadKey::from(pod),
            netns: Netns::Open(Namespace::from_handle(netns)?),
            addresses,
            // It was captured, and stays so until the configuration says otherwise.
            claim: Claim::Meshed,
        },
        sockets: Listeners::inherit([outbound, plaintext, hbone])?,
    })
}

/// Hands everything over to the next version of the tunnel, which asked for it.
pub(crate) async fn hand_over(mut next: UnixStream, office: Office, registrations: &UnixListener) {
    match timeout(PATIENCE, show(&mut next, &office, registrations)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return tracing::warn!(%error, "the next version of the tunnel did not take over"),
        Err(_) => return tracing::warn!("the next version of the tunnel did not take over in time"),
    }
    let Office { pods, duty, .. } = office;
    duty.now.send_replace(OnDuty::Next);
    let _ = pods.send(PodEvent::HandOver).await;
    tracing::info!("the next version of the tunnel is on duty; connections that are open go on here");
    // It says nothing more; its end does.
    let _ = frame::read(&mut next, frame::REQUEST_LIMIT).await;
    tracing::warn!("the next version of the tunnel is gone; this one is on duty again");
    duty.now.send_if_modified(|now| {
        let back = *now == OnDuty::Next;
        if back {
            *now = OnDuty::This;
        }
        back
    });
}

async fn show(next: &mut UnixStream, office: &Office, registrations: &UnixListener) -> io::Result<()> {
    let (answer, shown) = oneshot::channel();
    let ending = |_| io::Error::other("the tunnel is ending");
    office.pods.send(PodEvent::Show(answer)).await.map_err(|_| ending(()))?;
    for Legacy { pod, sockets } in shown.await.map_err(|_| ending(()))? {
        let Netns::Open(namespace) = &pod.netns else { continue };
        let [outbound, plaintext, hbone] = sockets.descriptors();
        let captured =
            Reply::Captured { uid: pod.uid.to_string(), pod: pod.key.to_string(), addresses: pod.addresses };
        reply(next, &captured, &[namespace.as_fd(), outbound, plaintext, hbone]).await?;
    }
    reply(next, &Reply::Taken, &[registrations.as_fd()]).await?;
    let confirmed = frame::read(next, frame::REQUEST_LIMIT).await?;
    match confirmed.and_then(|it| crate::register::parse(&it.message).ok()) {
        Some(Ask::Serving) => Ok(()),
        _ => Err(io::Error::other("it went without serving")),
    }
}

async fn reply(to: &mut UnixStream, reply: &Reply, along: &[BorrowedFd<'_>]) -> io::Result<()> {
    frame::write(to, &serde_json::to_vec(reply)?, along).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_said_of_the_tunnel_before_does_not_settle_what_becomes_of_this_one() {
        let settles = async |duty: &Duty| timeout(Duration::from_secs(60), duty.settled()).await.is_ok();
        let duty = Duty::in_pod("ztunnel-b");
        duty.stay("ztunnel-a");
        assert!(!settles(&duty).await);
        // The installer alone was restarted, a while ago.
        duty.stay("ztunnel-b");
        tokio::time::advance(2 * AT_ONCE).await;
        assert!(!settles(&duty).await);
        duty.stay("ztunnel-b");
        assert!(settles(&duty).await);
        let duty = Duty::in_pod("ztunnel-b");
        duty.end();
        assert!(settles(&duty).await);
    }
}
