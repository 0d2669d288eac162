//! The proxy's side of the stream: follows a controller for ever, through every interruption.

mod dial;
mod follower;

use super::{Link, Subscription};
use crate::model::Generation;
use crate::{Apply, Rejected};
use dial::Dial;
use fairway_identity::ControllerChannel;
use follower::Follower;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::transport::Endpoint;

/// How far following has come; for readiness and the admin port.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// What is in force; 0 before anything is. A controller that was restarted counts from 1 again.
    pub generation: Generation,
    /// Whether a controller is heard.
    pub connected: bool,
    /// Why the last connection failed or ended; none while connected.
    pub last_error: Option<Arc<str>>,
    /// What was refused and not replaced since.
    pub rejected: Arc<[Rejected]>,
}

/// The configuration in force, in a file: a program that is restarted has it without a controller.
#[derive(Clone, Debug)]
pub struct StateFile {
    /// The file; its folder has to exist and be writable.
    pub path: PathBuf,
    /// How long to wait for a controller before what is in the file is put in force. It may be older than what was in force
    /// when the program was killed, and what is served by it may be wrong: a pod that has joined the mesh since is spoken to
    /// in plaintext.
    pub initial_fetch_timeout: Duration,
    /// While it is false, another process writes the file.
    owned: watch::Receiver<bool>,
}

// === impl StateFile ===

impl StateFile {
    /// A file that no other process writes.
    pub fn new(path: PathBuf, initial_fetch_timeout: Duration) -> Self {
        Self { path, initial_fetch_timeout, owned: watch::Sender::new(true).subscribe() }
    }

    /// A file that is written only while `owned` is true. What came in force meanwhile is written when it is true again.
    pub fn while_owned(self, owned: watch::Receiver<bool>) -> Self {
        Self { owned, ..self }
    }
}

/// Follows a controller over gRPC. The future never ends: it connects again after every failure, and what is in force
/// stays so meanwhile. With a `state_file` it also starts from what was in force when the program last ran, if no controller
/// says what is so now.
///
/// Use [`endpoint`] for the channel: without keep-alive a controller that vanished is not missed.
pub fn follow(
    channel: impl Into<ControllerChannel>,
    subscription: Subscription,
    state_file: Option<StateFile>,
    apply: Box<dyn Apply>,
) -> (watch::Receiver<Progress>, impl Future<Output = Infallible> + Send) {
    Follower::start(Dial::grpc(channel.into()), subscription, state_file, apply)
}

/// Follows a controller in the same process; `link` opens a conversation with it and is called again when one ends.
pub fn follow_channel(
    link: impl FnMut() -> Link + Send + 'static,
    subscription: Subscription,
    state_file: Option<StateFile>,
    apply: Box<dyn Apply>,
) -> (watch::Receiver<Progress>, impl Future<Output = Infallible> + Send) {
    Follower::start(Dial::Local(Box::new(link)), subscription, state_file, apply)
}

/// A controller's address, with the time limits that [`follow`] counts on.
pub fn endpoint(uri: http::Uri) -> Endpoint {
    Endpoint::from(uri)
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true)
}
