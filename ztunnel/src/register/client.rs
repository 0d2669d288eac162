//! The caller's side.

use super::{Ask, Reply, frame};
use crate::pod::{PodState, PodStatus};
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
        };
        match self.ask(&ask).await? {
            Reply::Added { state } => Ok(state),
            other => Err(RegisterError::Answer(format!("{other:?}"))),
        }
    }

    /// Says that a pod is gone.
    pub async fn remove(&mut self, uid: &str) -> Result<(), RegisterError> {
        match self.ask(&Ask::Remove { uid: uid.to_owned() }).await? {
            Reply::Removed => Ok(()),
            other => Err(RegisterError::Answer(format!("{other:?}"))),
        }
    }

    /// The registered pods.
    pub async fn list(&mut self) -> Result<Vec<PodStatus>, RegisterError> {
        match self.ask(&Ask::List).await? {
            Reply::Pods { pods } => Ok(pods),
            other => Err(RegisterError::Answer(format!("{other:?}"))),
        }
    }

    async fn ask(&mut self, ask: &Ask) -> Result<Reply, RegisterError> {
        let message = serde_json::to_vec(ask).map_err(io::Error::from)?;
        frame::write(&mut self.0, &message).await?;
        let answer = frame::read(&mut self.0, frame::REPLY_LIMIT).await?;
        let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        match serde_json::from_slice(&answer) {
            Ok(Reply::Refused { reason }) => Err(RegisterError::Refused(reason)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(RegisterError::Answer(error.to_string())),
        }
    }
}
