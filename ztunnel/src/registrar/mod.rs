//! Carries out what comes by the registration socket: registrations of pods, and the handoff to the next tunnel process.

#[cfg(test)]
mod tests;

use crate::handoff;
use crate::ownership::{Owner, Ownership};
use crate::pod::{Candidate, Netns, PodEvent};
use crate::registration::frame::{self, Frame};
use crate::registration::{Reply, Request, Server, parse};
use crate::view::View;
use fairway_config::model::WorkloadKey;
use fairway_netns::Namespace;
use fairway_runtime::drain::{self, Phase};
use rustix::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// What handles the requests of all connections. Clones share the same state.
#[derive(Clone)]
pub struct Handler {
    /// The channel to the pod registry.
    pub pods: mpsc::Sender<PodEvent>,
    /// The status of registered pods.
    pub view: View,
    /// Which process owns the node's pods: registrations are accepted only while it is this one.
    pub ownership: Ownership,
}

/// Accepts connections until the listeners close, except while the next tunnel process owns the pods.
pub async fn serve(server: Server, handler: Handler, drain: drain::Watch) {
    let Server { listener, descriptor } = server;
    let mut ownership = handler.ownership.watch();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if *ownership.borrow() == Owner::This => accepted,
            _ = ownership.changed() => continue,
            () = drain.reached(Phase::Closing) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(serve_connection(stream, handler.clone(), descriptor.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the registration socket cannot accept for now");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_connection(mut stream: UnixStream, handler: Handler, descriptor: Arc<StdListener>) {
    loop {
        let reply = match frame::read(&mut stream, frame::REQUEST_LIMIT).await {
            Ok(None) => return,
            Ok(Some(Frame { message, descriptors })) => match parse(&message) {
                Ok(Request::TakeOver) => {
                    return handoff::hand_off(stream, handler.pods, handler.ownership, &descriptor).await;
                }
                Ok(request) => handler.handle(request, descriptors).await,
                Err(reason) => Reply::Refused { reason },
            },
            Err(error) => {
                tracing::warn!(%error, "a registration was not read: the message is malformed or the connection broke");
                return;
            }
        };
        let sent = match serde_json::to_vec(&reply) {
            Ok(message) => frame::write(&mut stream, &message, &[]).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "a registration was not answered: the caller has closed the connection");
            return;
        }
    }
}

/// Whether the pod has a newer sandbox than the one whose network namespace is in `gone`.
fn has_newer_sandbox(uid: &str, gone: &[OwnedFd], view: &View) -> bool {
    let gone = gone.first().and_then(|handle| handle.try_clone().ok());
    let gone = gone.and_then(|handle| Namespace::from_handle(handle).ok());
    match (gone, view.namespace_of(uid)) {
        (Some(gone), Some(current)) => gone.id() != current,
        (None, _) | (_, None) => false,
    }
}

// === impl Handler ===

impl Handler {
    async fn handle(&self, request: Request, descriptors: Vec<OwnedFd>) -> Reply {
        let refused = |reason: &str| Reply::Refused { reason: reason.to_owned() };
        let Self { pods, view, .. } = self;
        match request {
            Request::List => Reply::Pods { pods: view.pods() },
            Request::Remove { uid } if has_newer_sandbox(&uid, &descriptors, view) => Reply::Removed,
            Request::Remove { uid } => match pods.send(PodEvent::Removed { uid: uid.into() }).await {
                Ok(()) => Reply::Removed,
                Err(_) => refused("the tunnel is ending"),
            },
            Request::Stay { pod } => {
                self.ownership.announce_mesh_stays(&pod);
                Reply::Stays
            }
            Request::Release => {
                // Otherwise the finder would capture the pods again.
                self.ownership.relinquish();
                let (done, released) = oneshot::channel();
                match pods.send(PodEvent::Release(done)).await {
                    Ok(()) if released.await.is_ok() => Reply::Released,
                    _ => refused("the tunnel is ending"),
                }
            }
            Request::Add { uid, namespace, name, netns, addresses, claim } => {
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
            // `TakeOver` is handled by `serve_connection`, because the connection then carries no further requests.
            Request::TakeOver | Request::Serving => refused("no handoff is in progress"),
        }
    }
}
