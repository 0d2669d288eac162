//! The client of the registration socket.

use super::{Reply, Request, frame};
use crate::pod_status::{PodState, PodStatus};
use rustix::fd::{BorrowedFd, OwnedFd};
use std::io;
use std::path::Path;
use tokio::net::UnixStream;

/// A connection to a tunnel's registration socket.
#[derive(Debug)]
pub struct Client(UnixStream);

/// Why a request failed. A pod that was to be registered must not start.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The socket cannot be connected to, or the tunnel has closed the connection.
    #[error("the tunnel cannot be reached: {0}")]
    Io(#[from] io::Error),
    /// The reply is not JSON, or not one that belongs to the request.
    #[error("the tunnel's reply is not understood: {0}")]
    Reply(String),
    /// The tunnel has refused the request, for this reason.
    #[error("the tunnel refused: {0}")]
    Refused(String),
}

impl Client {
    /// Connects to the socket at `path`.
    pub async fn connect(path: &Path) -> Result<Self, RegisterError> {
        Ok(Self(UnixStream::connect(path).await?))
    }

    /// Registers a pod without a claim. Returns when the pod may start.
    pub async fn add(
        &mut self,
        uid: &str,
        namespace: &str,
        name: &str,
        netns: &Path,
    ) -> Result<PodState, RegisterError> {
        let add = Request::Add {
            uid: uid.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            netns: netns.to_owned(),
            addresses: Vec::new(),
            claim: Default::default(),
        };
        self.register(&add, None).await
    }

    /// Sends `add`, a [`Request::Add`], with a descriptor of the pod's network namespace: the path may not exist in the
    /// tunnel's mount namespace. Returns when the pod may start.
    pub async fn register(
        &mut self,
        add: &Request,
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<PodState, RegisterError> {
        match self.call(add, netns.as_slice()).await? {
            Reply::Added { state } => Ok(state),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes a pod, whatever its sandbox is.
    pub async fn remove(&mut self, uid: &str) -> Result<(), RegisterError> {
        self.send_remove(uid, &[]).await
    }

    /// Removes a pod if `netns` still is its network namespace. A newer sandbox of the pod stays registered.
    pub async fn remove_from(&mut self, uid: &str, netns: BorrowedFd<'_>) -> Result<(), RegisterError> {
        self.send_remove(uid, &[netns]).await
    }

    async fn send_remove(&mut self, uid: &str, netns: &[BorrowedFd<'_>]) -> Result<(), RegisterError> {
        match self.call(&Request::Remove { uid: uid.to_owned() }, netns).await? {
            Reply::Removed => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Returns the registered pods, in the order of their uids.
    pub async fn list(&mut self) -> Result<Vec<PodStatus>, RegisterError> {
        match self.call(&Request::List, &[]).await? {
            Reply::Pods { pods } => Ok(pods),
            other => Err(unexpected(&other)),
        }
    }

    /// Releases every pod. Returns when their rules are removed.
    pub async fn release(&mut self) -> Result<(), RegisterError> {
        match self.call(&Request::Release, &[]).await? {
            Reply::Released => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Announces that the mesh stays on this node when the tunnel's Pod `pod` ends.
    pub async fn stay(&mut self, pod: &str) -> Result<(), RegisterError> {
        match self.call(&Request::Stay { pod: pod.to_owned() }, &[]).await? {
            Reply::Stays => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn call(
        &mut self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Reply, RegisterError> {
        self.send(request, descriptors).await?;
        Ok(self.receive().await?.0)
    }

    pub(crate) async fn send(
        &mut self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), RegisterError> {
        let message = serde_json::to_vec(request).map_err(io::Error::from)?;
        Ok(frame::write(&mut self.0, &message, descriptors).await?)
    }

    pub(crate) async fn receive(&mut self) -> Result<(Reply, Vec<OwnedFd>), RegisterError> {
        let frame = frame::read(&mut self.0, frame::REPLY_LIMIT).await?;
        let frame = frame.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        match serde_json::from_slice(&frame.message) {
            Ok(Reply::Refused { reason }) => Err(RegisterError::Refused(reason)),
            Ok(reply) => Ok((reply, frame.descriptors)),
            Err(error) => Err(RegisterError::Reply(error.to_string())),
        }
    }
}

pub(crate) fn unexpected(reply: &Reply) -> RegisterError {
    RegisterError::Reply(format!("{reply:?}"))
}
