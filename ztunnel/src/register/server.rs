//! The tunnel's side.

use super::{Ask, Reply, frame, parse};
use crate::pod::PodEvent;
use crate::view::View;
use fairway_config::model::WorkloadKey;
use fairway_runtime::drain::{self, Phase};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// A socket to be registered at.
#[derive(Debug)]
pub struct Server(UnixListener);

impl Server {
    /// Binds the socket for its owner alone: who can register pods can take over their traffic. A socket that a program
    /// which is gone has left behind is replaced, one that somebody listens on is not.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(error);
                }
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            listener => listener?,
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self(listener))
    }
}

/// Serves until the drain begins.
pub async fn serve(server: Server, pods: mpsc::Sender<PodEvent>, view: View, drain: drain::Watch) {
    loop {
        let accepted = tokio::select! {
            accepted = server.0.accept() => accepted,
            () = drain.reached(Phase::Draining) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, pods.clone(), view.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "registration socket");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

pub(super) async fn converse<S>(mut stream: S, pods: mpsc::Sender<PodEvent>, view: View)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let reply = match frame::read(&mut stream, frame::REQUEST_LIMIT).await {
            Ok(None) => return,
            Ok(Some(message)) => answer(&message, &pods, &view).await,
            Err(error) => {
                tracing::warn!(%error, "registration: a broken message");
                return;
            }
        };
        let sent = match serde_json::to_vec(&reply) {
            Ok(message) => frame::write(&mut stream, &message).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "registration: the caller is gone");
            return;
        }
    }
}

async fn answer(message: &[u8], pods: &mpsc::Sender<PodEvent>, view: &View) -> Reply {
    let refused = |reason: &str| Reply::Refused { reason: reason.to_owned() };
    match parse(message) {
        Err(reason) => Reply::Refused { reason },
        Ok(Ask::List) => Reply::Pods { pods: view.pods() },
        Ok(Ask::Remove { uid }) => match pods.send(PodEvent::Removed { uid: uid.into() }).await {
            Ok(()) => Reply::Removed,
            Err(_) => refused("the tunnel is ending"),
        },
        Ok(Ask::Add { uid, namespace, name, netns }) => {
            let (done, outcome) = oneshot::channel();
            let key = WorkloadKey::from(format!("{namespace}/{name}"));
            if pods.send(PodEvent::Added { uid: uid.into(), key, netns, done }).await.is_err() {
                return refused("the tunnel is ending");
            }
            match outcome.await {
                Ok(Ok(state)) => Reply::Added { state },
                Ok(Err(error)) => refused(&error.to_string()),
                Err(_) => refused("the pod was removed, or the tunnel is ending"),
            }
        }
    }
}
