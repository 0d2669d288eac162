//! A conversation with a controller in the same process: the same messages without a network.

use crate::proto::{FromController, FromProxy};
use tokio::sync::mpsc;
use tonic::Status;

/// The end of the conversation that the proxy has.
#[derive(Debug)]
pub struct Link {
    /// What the proxy says.
    pub to_controller: mpsc::Sender<FromProxy>,
    /// What it hears; an error is the controller's reason for ending the conversation.
    pub from_controller: mpsc::Receiver<Result<FromController, Status>>,
}
