//! The caller's side.

use super::{Ask, Reply, frame};
use crate::pod::{PodState, PodStatus};
use rustix::fd::{BorrowedFd, OwnedFd};
use std::io;
use std::path::Path;
use tokio::net::UnixStream;

/// A connection to a tunnel's registration socket.
#[derive(Debug)]
pub struct Client(UnixStream);

/// Why a pod could not be registered: it must not start.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The tunnel cannot be reached, or went away.
    #[error("the tunnel cannot be reached: {0}")]
    Io(#[from] io::Error),
    /// It answered what this caller does not understand.
    #[error("the tunnel's answer is not understood: {0}")]
    Answer(String),
    /// It said no.
    #[error("the tunnel refused: {0}")]
    Refused(String),
}

impl Client {
    /// Connects to the socket.
    pub async fn connect(path: &Path) -> Result<Self, RegisterError> {
        Ok(Self(UnixStream::connect(path).await?))
    }

    /// Registers a pod; returns when it may start.
    pub async fn add(
        &mut self,
        uid: &str,
        namespace: &str,
        name: &str,
        netns: &Path,
    ) -> Result<PodState, RegisterError> {
        let ask = Ask::Add {
            uid: uid.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            netns: netns.to_owned(),
            addresses: Vec::new(),
            claim: Default::default(),
        };
        self.register(&ask, None).await
    }

    /// The same, with everything that may be known of the pod, and a descriptor of its network namespace: the path may mean
    /// nothing where the tunnel lives.
    pub async fn register(
        &mut self,
        add: &Ask,
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<PodState, RegisterError> {
        match self.ask(add, netns.as_slice()).await? {
            Reply::Added { state } => Ok(state),
            other => Err(unexpected(&other)),
        }
    }

    /// Says that a pod is gone.
    pub async fn remove(&mut self, uid: &str) -> Result<(), RegisterError> {
        self.remove_any(uid, &[]).await
    }

    /// The same of a pod's sandbox that is gone: if the pod has another by now, that one stays.
    pub async fn remove_from(&mut self, uid: &str, netns: BorrowedFd<'_>) -> Result<(), RegisterError> {
        self.remove_any(uid, &[netns]).await
    }

    async fn remove_any(&mut self, uid: &str, netns: &[BorrowedFd<'_>]) -> Result<(), RegisterError> {
        match self.ask(&Ask::Remove { uid: uid.to_owned() }, netns).await? {
            Reply::Removed => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The registered pods.
    pub async fn list(&mut self) -> Result<Vec<PodStatus>, RegisterError> {
        match self.ask(&Ask::List, &[]).await? {
            Reply::Pods { pods } => Ok(pods),
            other => Err(unexpected(&other)),
        }
    }

    /// Has every pod let go; returns when their rules are gone.
    pub async fn release(&mut self) -> Result<(), RegisterError> {
        match self.ask(&Ask::Release, &[]).await? {
            Reply::Released => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Says that the mesh stays on this node, though this pod of a tunnel ends.
    pub async fn stay(&mut self, pod: &str) -> Result<(), RegisterError> {
        match self.ask(&Ask::Stay { pod: pod.to_owned() }, &[]).await? {
            Reply::Stays => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&mut self, ask: &Ask, along: &[BorrowedFd<'_>]) -> Result<Reply, RegisterError> {
        self.send(ask, along).await?;
        Ok(self.receive().await?.0)
    }

    pub(crate) async fn send(&mut self, ask: &Ask, along: &[BorrowedFd<'_>]) -> Result<(), RegisterError> {
        let message = serde_json::to_vec(ask).map_err(io::Error::from)?;
        Ok(frame::write(&mut self.0, &message, along).await?)
    }

    pub(crate) async fn receive(&mut self) -> Result<(Reply, Vec<OwnedFd>), RegisterError> {
        let answer = frame::read(&mut self.0, frame::REPLY_LIMIT).await?;
        let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        match serde_json::from_slice(&answer.message) {
            Ok(Reply::Refused { reason }) => Err(RegisterError::Refused(reason)),
            Ok(reply) => Ok((reply, answer.descriptors)),
            Err(error) => Err(RegisterError::Answer(error.to_string())),
        }
    }
}

pub(crate) fn unexpected(reply: &Reply) -> RegisterError {
    RegisterError::Answer(format!("{reply:?}"))
}
