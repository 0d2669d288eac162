//! Who may have which identity.

use super::{PodRejection, Reviewed};
use fairway_config::model::ObjectName;
use fairway_identity::{BoxFuture, SpiffeId};
use std::sync::Arc;
use tonic::transport::server::UdsConnectInfo;

/// What is known of who asks, none of it from the asker's own mouth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Code of this very process.
    ThisProcess,
    /// A process of this machine that came through a unix socket; the kernel says who it is.
    Unix {
        /// The user id of the peer, from the credentials of its socket.
        uid: u32,
        /// Its process, where the kernel says.
        pid: Option<i32>,
    },
    /// A proxy of the cluster that showed a token; the API server says whose.
    Proxy(Arc<Reviewed>),
    /// The connection has no credentials to judge by.
    Unknown,
}

/// Decides whether a caller may have an identity. It is asked before every signature.
pub trait Entitlement: Send + Sync + 'static {
    /// Errs if the caller may not, or if that cannot be found out.
    fn check<'a>(&'a self, caller: &'a Caller, id: &'a SpiffeId) -> BoxFuture<'a, Result<(), NotEntitled>>;
}

/// Why a caller does not get an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEntitled {
    /// Another user than the one who runs the mesh.
    #[error("the caller runs as user {caller}, only user {ours} may have identities here")]
    OtherUser {
        /// The user id of the caller.
        caller: u32,
        /// The user id that is let in.
        ours: u32,
    },
    /// It came on a way that tells nothing of it.
    #[error("it is not known who asks")]
    Unknown,
    /// A pod that asks for what its node's tunnel asks for it.
    #[error("service account {0} is neither that of a Gateway's proxy nor that of the tunnels")]
    NotAProxy(ObjectName),
    /// A proxy that asks for another's identity.
    #[error("the caller is {0} and may have its own identity only")]
    NotItsOwn(ObjectName),
    /// A pod that Fairway did not make.
    #[error(transparent)]
    Doubtful(#[from] PodRejection),
    /// A tunnel that asks for the identity of pods elsewhere.
    #[error("no captured pod of that identity runs on the caller's node {0}")]
    NotOnNode(Arc<str>),
    /// A tunnel of which that cannot be said.
    #[error("it is not known on which node the caller's pod {0} runs")]
    UnknownNode(Arc<str>),
}

/// Standalone: whoever runs the mesh may have every identity in it; on one machine the same user owns it all anyway.
#[derive(Clone, Copy, Debug)]
pub struct SameUser {
    uid: u32,
}

// === impl Caller ===

impl Caller {
    /// Who sent this gRPC request.
    pub fn from_request<T>(request: &tonic::Request<T>) -> Self {
        if let Some(reviewed) = request.extensions().get::<Arc<Reviewed>>() {
            return Self::Proxy(reviewed.clone());
        }
        let peer = request.extensions().get::<UdsConnectInfo>().and_then(|it| it.peer_cred);
        peer.map_or(Self::Unknown, |it| Self::Unix { uid: it.uid(), pid: it.pid() })
    }
}

impl Caller {
    /// Waits until what it showed is worth nothing any more.
    pub(crate) async fn expired(&self) {
        match self {
            Self::Proxy(reviewed) => reviewed.expired().await,
            Self::ThisProcess | Self::Unix { .. } | Self::Unknown => std::future::pending().await,
        }
    }
}

// === impl SameUser ===

impl SameUser {
    /// Lets in the user that this process runs as, and nobody else.
    pub fn as_this_process() -> Self {
        Self { uid: rustix::process::geteuid().as_raw() }
    }

    fn decide(self, caller: &Caller) -> Result<(), NotEntitled> {
        match *caller {
            Caller::ThisProcess => Ok(()),
            Caller::Unix { uid, .. } if uid == self.uid => Ok(()),
            Caller::Unix { uid, .. } => Err(NotEntitled::OtherUser { caller: uid, ours: self.uid }),
            Caller::Proxy(_) | Caller::Unknown => Err(NotEntitled::Unknown),
        }
    }
}

impl Entitlement for SameUser {
    fn check<'a>(&'a self, caller: &'a Caller, _id: &'a SpiffeId) -> BoxFuture<'a, Result<(), NotEntitled>> {
        Box::pin(std::future::ready(self.decide(caller)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_user_is_entitled() {
        let ours = SameUser { uid: 1000 };
        for (caller, verdict) in [
            (Caller::ThisProcess, Ok(())),
            (Caller::Unix { uid: 1000, pid: Some(7) }, Ok(())),
            (Caller::Unix { uid: 1001, pid: None }, Err(NotEntitled::OtherUser { caller: 1001, ours: 1000 })),
            // Root could take the socket anyway, but what it does by mistake is still refused.
            (Caller::Unix { uid: 0, pid: None }, Err(NotEntitled::OtherUser { caller: 0, ours: 1000 })),
            (Caller::Unknown, Err(NotEntitled::Unknown)),
        ] {
            assert_eq!(ours.decide(&caller), verdict, "{caller:?}");
        }
    }
}
