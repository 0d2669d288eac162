//! Socket handoff: a new tunnel process takes over the captured pods of the running one, and no connection is lost.
//!
//! The new process asks the running one, at the registration socket, for the captured pods and their listening sockets. The
//! sockets travel as file descriptors (`SCM_RIGHTS`), so the kernel never sees a moment without a listener, and connections in
//! the accept queue survive. When the new process serves the pods it says so. From then on the old process accepts nothing and
//! only carries its open connections to their end. If the new process exits before the old one is told to end, the old one
//! owns the node again.
//!
//! ```text
//!     new process ── take_over ──▶ old process
//!                 ◀── captured ──      one for each pod, with its network namespace and its three sockets
//!                 ◀─── taken ────      with the registration socket
//!                 ── serving ───▶      the old process stops accepting and sends GOAWAY to its peers
//!                       …              the connection stays open: its end means that the new process is gone
//! ```

use crate::ownership::Ownership;
use crate::pod::{Candidate, Claim, Netns, PodEvent, PodHandoff};
use crate::proxy::Listeners;
use crate::registration::{Client, RegisterError, Reply, Request, Server, frame, parse, unexpected};
use fairway_config::model::WorkloadKey;
use fairway_netns::Namespace;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Time for each side of a handoff: the old process to send everything, the new one to serve it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A requested handoff: everything that the running process has sent, not served yet.
#[derive(Debug)]
pub struct Handoff {
    pods: Vec<PodHandoff>,
    /// The socket at which pods are registered.
    server: Server,
    predecessor: Client,
}

/// Keeps the connection to the predecessor open. When it is dropped, the predecessor owns the node again.
#[derive(Debug)]
pub struct HandoffGuard {
    _predecessor: Client,
}

/// Why a handoff failed. The caller then captures the pods anew, beside the running process.
#[derive(Debug, thiserror::Error)]
pub enum HandoffError {
    /// The running process answers with an error or does not know the request.
    #[error("the running tunnel refuses the handoff: {0}")]
    Register(#[from] RegisterError),
    /// A descriptor is missing, or is no listening socket or network namespace.
    #[error("the running tunnel has sent sockets that cannot be used: {0}")]
    Unusable(#[from] io::Error),
    /// The running process has not sent everything within 30 seconds.
    #[error("the running tunnel has not completed the handoff within {} s", TIMEOUT.as_secs())]
    Late,
}

// === impl Handoff ===

impl Handoff {
    /// Requests the pods and sockets of the running process. `None` if no process listens at `socket`. The running process
    /// goes on accepting until [`Handoff::accept`].
    pub async fn request(socket: &Path) -> Result<Option<Self>, HandoffError> {
        let Ok(mut predecessor) = Client::connect(socket).await else { return Ok(None) };
        predecessor.send(&Request::TakeOver, &[]).await?;
        timeout(TIMEOUT, Self::receive(predecessor)).await.unwrap_or(Err(HandoffError::Late)).map(Some)
    }

    async fn receive(mut predecessor: Client) -> Result<Self, HandoffError> {
        let mut pods = Vec::new();
        loop {
            let (reply, descriptors) = predecessor.receive().await?;
            match reply {
                Reply::Captured { uid, pod, addresses } => {
                    pods.push(receive_pod(uid, pod, addresses, descriptors)?);
                }
                Reply::Taken => {
                    let socket = descriptors.into_iter().next();
                    let socket = socket.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
                    return Ok(Self { pods, server: Server::inherit(socket)?, predecessor });
                }
                other => return Err(unexpected(&other).into()),
            }
        }
    }

    /// Serves the pods, then tells the predecessor to stop accepting. Returns the registration socket. A pod that cannot be
    /// served is logged; the others are not held up by it.
    pub async fn accept(
        self,
        registry: &mpsc::Sender<PodEvent>,
    ) -> Result<(Server, HandoffGuard), HandoffError> {
        let Self { pods, server, mut predecessor } = self;
        let mut outcomes = Vec::new();
        for PodHandoff { pod, sockets } in pods {
            let (done, outcome) = oneshot::channel();
            let key = pod.key.clone();
            if registry.send(PodEvent::Inherited { pod, sockets, done }).await.is_ok() {
                outcomes.push((key, outcome));
            }
        }
        for (key, outcome) in outcomes {
            match outcome.await {
                Ok(Ok(state)) => {
                    tracing::info!(pod = %key, ?state, "pod taken over from the previous tunnel")
                }
                Ok(Err(error)) => {
                    tracing::error!(pod = %key, %error, "pod cannot be taken over from the previous tunnel");
                }
                Err(_) => {}
            }
        }
        predecessor.send(&Request::Serving, &[]).await?;
        Ok((server, HandoffGuard { _predecessor: predecessor }))
    }
}

/// Descriptors: the network namespace, then the sockets for outbound, plaintext inbound and HBONE.
fn receive_pod(
    uid: String,
    pod: String,
    addresses: Vec<IpAddr>,
    descriptors: Vec<OwnedFd>,
) -> io::Result<PodHandoff> {
    let [netns, outbound, plaintext, hbone] =
        <[OwnedFd; 4]>::try_from(descriptors).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(PodHandoff {
        pod: Candidate {
            uid: uid.into(),
            key: WorkloadKey::from(pod),
            netns: Netns::Open(Namespace::from_handle(netns)?),
            addresses,
            // It was captured, and stays captured until the configuration says otherwise.
            claim: Claim::Meshed,
        },
        sockets: Listeners::inherit([outbound, plaintext, hbone])?,
    })
}

/// The predecessor's side: sends everything to the process at the other end of `successor`, then waits for that process to
/// end.
pub(crate) async fn hand_off(
    mut successor: UnixStream,
    pods: mpsc::Sender<PodEvent>,
    ownership: Ownership,
    registrations: &UnixListener,
) {
    match timeout(TIMEOUT, send_pods(&mut successor, &pods, registrations)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            return tracing::warn!(%error, "the new tunnel has not completed the handoff; this one goes on");
        }
        Err(_) => {
            return tracing::warn!(
                seconds = TIMEOUT.as_secs(),
                "the new tunnel has not completed the handoff in time; this one goes on"
            );
        }
    }
    ownership.pass_on();
    let _ = pods.send(PodEvent::CompleteHandoff).await;
    tracing::info!("the new tunnel owns the node's pods; open connections stay here until they end");
    // The successor sends nothing more. This returns when it exits.
    let _ = frame::read(&mut successor, frame::REQUEST_LIMIT).await;
    tracing::warn!("the new tunnel has exited; this one owns the node again");
    ownership.take_back();
}

async fn send_pods(
    successor: &mut UnixStream,
    registry: &mpsc::Sender<PodEvent>,
    registrations: &UnixListener,
) -> io::Result<()> {
    let (answer, pods) = oneshot::channel();
    let ending = |_| io::Error::other("the tunnel is ending");
    registry.send(PodEvent::PrepareHandoff(answer)).await.map_err(|_| ending(()))?;
    for PodHandoff { pod, sockets } in pods.await.map_err(|_| ending(()))? {
        let Netns::Open(namespace) = &pod.netns else { continue };
        let [outbound, plaintext, hbone] = sockets.descriptors();
        let captured =
            Reply::Captured { uid: pod.uid.to_string(), pod: pod.key.to_string(), addresses: pod.addresses };
        send(successor, &captured, &[namespace.as_fd(), outbound, plaintext, hbone]).await?;
    }
    send(successor, &Reply::Taken, &[registrations.as_fd()]).await?;
    let confirmation = frame::read(successor, frame::REQUEST_LIMIT).await?;
    match confirmation.and_then(|frame| parse(&frame.message).ok()) {
        Some(Request::Serving) => Ok(()),
        _ => Err(io::Error::other("it has closed the connection without confirming that it serves the pods")),
    }
}

async fn send(to: &mut UnixStream, reply: &Reply, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    frame::write(to, &serde_json::to_vec(reply)?, descriptors).await
}
