//! Opening a conversation with a controller, near or far.

use crate::proto::configuration_client::ConfigurationClient;
use crate::proto::{FromController, FromProxy, from_proxy};
use crate::stream::Link;
use fairway_identity::{CallingChannel, ControllerChannel};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// How a controller is reached.
pub(super) enum Dial {
    /// A controller over gRPC.
    Grpc(ConfigurationClient<CallingChannel>),
    /// A controller in this process.
    Local(Box<dyn FnMut() -> Link + Send>),
}

/// One stream with a controller, both ways.
pub(super) struct Conversation {
    to_controller: mpsc::Sender<FromProxy>,
    from_controller: Incoming,
}

enum Incoming {
    Grpc(Box<Streaming<FromController>>),
    Local(mpsc::Receiver<Result<FromController, Status>>),
}

/// How long a controller may take to accept a subscription.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

impl Dial {
    pub(super) fn grpc(channel: ControllerChannel) -> Self {
        Self::Grpc(ConfigurationClient::new(channel.into_service()))
    }

    pub(super) async fn open(&mut self) -> Result<Conversation, Status> {
        match self {
            Self::Grpc(client) => {
                let (to_controller, outgoing) = mpsc::channel(4);
                let subscribed = client.subscribe(ReceiverStream::new(outgoing));
                let response = tokio::time::timeout(ACCEPT_TIMEOUT, subscribed)
                    .await
                    .map_err(|_| Status::deadline_exceeded("the controller does not answer"))??;
                let from_controller = Incoming::Grpc(Box::new(response.into_inner()));
                Ok(Conversation { to_controller, from_controller })
            }
            Self::Local(open) => {
                let Link { to_controller, from_controller } = open();
                Ok(Conversation { to_controller, from_controller: Incoming::Local(from_controller) })
            }
        }
    }
}

impl Conversation {
    /// Says something. An end of the conversation is not noticed here but by [`Self::hear`], which knows the reason.
    pub(super) async fn say(&self, message: from_proxy::Message) {
        let _ = self.to_controller.send(FromProxy { message: Some(message) }).await;
    }

    /// The next message; an error ends the conversation.
    pub(super) async fn hear(&mut self) -> Result<FromController, Status> {
        let message = match &mut self.from_controller {
            Incoming::Grpc(stream) => stream.message().await?,
            Incoming::Local(queue) => queue.recv().await.transpose()?,
        };
        message.ok_or_else(|| Status::unavailable("the controller ended the stream"))
    }
}
