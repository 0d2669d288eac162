//! The tunnel's side.

use super::frame::{self, Frame};
use super::{Ask, Reply, parse};
use crate::pod::{Candidate, Netns, PodEvent};
use crate::succession::{self, Duty, OnDuty};
use crate::view::View;
use fairway_config::model::WorkloadKey;
use fairway_netns::Namespace;
use fairway_runtime::drain::{self, Phase};
use rustix::fd::OwnedFd;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// A socket to be registered at.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    /// For the next version of the tunnel.
    descriptor: Arc<StdListener>,
}

/// What registrations are answered with.
#[derive(Clone)]
pub struct Office {
    /// Where pods are registered.
    pub pods: mpsc::Sender<PodEvent>,
    /// What is shown of them.
    pub view: View,
    /// Whether this tunnel still is the node's.
    pub duty: Duty,
}

// === impl Server ===

impl Server {
    /// Binds the socket for its owner alone: who can register pods can take over their traffic. A socket that a program
    /// which is gone has left behind is replaced, one that somebody listens on is not.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        let listener = match StdListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(error);
                }
                std::fs::remove_file(path)?;
                StdListener::bind(path)?
            }
            listener => listener?,
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Self::over(listener)
    }

    /// Binds the socket though somebody may listen on the one that is there: that one cannot be talked to.
    pub async fn replace(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Self::bind(path).await,
        }
    }

    /// The socket of the version before.
    pub(crate) fn inherit(descriptor: OwnedFd) -> io::Result<Self> {
        Self::over(StdListener::from(descriptor))
    }

    fn over(listener: StdListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let descriptor = Arc::new(listener.try_clone()?);
        Ok(Self { listener: UnixListener::from_std(listener)?, descriptor })
    }
}

/// Serves until the program has drained, but for while the next version of the tunnel is on duty.
pub async fn serve(server: Server, office: Office, drain: drain::Watch) {
    let Server { listener, descriptor } = server;
    let mut duty = office.duty.watch();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if *duty.borrow() == OnDuty::This => accepted,
            _ = duty.changed() => continue,
            () = drain.reached(Phase::Closing) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, office.clone(), descriptor.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "registration socket");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn converse(mut stream: UnixStream, office: Office, descriptor: Arc<StdListener>) {
    loop {
        let reply = match frame::read(&mut stream, frame::REQUEST_LIMIT).await {
            Ok(None) => return,
            Ok(Some(Frame { message, descriptors })) => match parse(&message) {
                Ok(Ask::TakeOver) => return succession::hand_over(stream, office, &descriptor).await,
                Ok(ask) => answer(ask, descriptors, &office).await,
                Err(reason) => Reply::Refused { reason },
            },
            Err(error) => {
                tracing::warn!(%error, "registration: a broken message");
                return;
            }
        };
        let sent = match serde_json::to_vec(&reply) {
            Ok(message) => frame::write(&mut stream, &message, &[]).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "registration: the caller is gone");
            return;
        }
    }
}

/// Whether a pod has another network namespace than the one that is gone.
fn is_of_another(uid: &str, gone: &[OwnedFd], view: &View) -> bool {
    let gone = gone.first().and_then(|it| it.try_clone().ok()).and_then(|it| Namespace::from_handle(it).ok());
    match (gone, view.namespace_of(uid)) {
        (Some(gone), Some(held)) => gone.id() != held,
        (None, _) | (_, None) => false,
    }
}

async fn answer(ask: Ask, descriptors: Vec<OwnedFd>, office: &Office) -> Reply {
    let refused = |reason: &str| Reply::Refused { reason: reason.to_owned() };
    let Office { pods, view, .. } = office;
    match ask {
        Ask::List => Reply::Pods { pods: view.pods() },
        Ask::Remove { uid } if is_of_another(&uid, &descriptors, view) => Reply::Removed,
        Ask::Remove { uid } => match pods.send(PodEvent::Removed { uid: uid.into() }).await {
            Ok(()) => Reply::Removed,
            Err(_) => refused("the tunnel is ending"),
        },
        Ask::Stay { pod } => {
            office.duty.stay(&pod);
            Reply::Stays
        }
        Ask::Release => {
            // Or pods would be found and captured again.
            office.duty.end();
            let (done, released) = oneshot::channel();
            match pods.send(PodEvent::Release(done)).await {
                Ok(()) if released.await.is_ok() => Reply::Released,
                _ => refused("the tunnel is ending"),
            }
        }
        Ask::Add { uid, namespace, name, netns, addresses, claim } => {
            let netns = match descriptors.into_iter().next().map(Namespace::from_handle) {
                None => Netns::At(netns),
                Some(Ok(namespace)) => Netns::Open(namespace),
                Some(Err(error)) => {
                    return refused(&format!("the descriptor of {}: {error}", netns.display()));
                }
            };
            let key = WorkloadKey::from(format!("{namespace}/{name}"));
            let (done, outcome) = oneshot::channel();
            let pod = Candidate { uid: uid.into(), key, netns, addresses, claim };
            if pods.send(PodEvent::Added { pod, done }).await.is_err() {
                return refused("the tunnel is ending");
            }
            match outcome.await {
                Ok(Ok(state)) => Reply::Added { state },
                Ok(Err(error)) => refused(&error.to_string()),
                Err(_) => refused("the pod was removed, or the tunnel is ending"),
            }
        }
        // The connection is then no longer one of questions and answers.
        Ask::TakeOver | Ask::Serving => refused("nothing is being handed over"),
    }
}
