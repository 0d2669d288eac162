//! The hub over gRPC.

use super::hub::{Hub, QUEUE};
use super::session;
use fairway_config::proto::configuration_server::{Configuration, ConfigurationServer};
use fairway_config::proto::{FromController, FromProxy};
use fairway_config::stream::Subscription;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status, Streaming};

/// Decides who may have which configuration: it holds the private keys of a Gateway's certificates.
///
/// What takes waiting to find out (a token's review, say) belongs into a layer around the service, which leaves what it
/// found in the request's extensions for this to judge.
pub trait Admission: Send + Sync + 'static {
    /// Lets a peer in as what it says it is, or not.
    fn admit(&self, peer: Peer<'_>, subscription: &Subscription) -> Result<(), Refused>;
}

/// What is known of a peer.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Its connection, and what layers found out: `UdsConnectInfo` with the peer's credentials on a unix socket.
    pub extensions: &'a Extensions,
    /// The headers it sent.
    pub metadata: &'a MetadataMap,
}

/// A peer that may not have what it asks for; the reason is told to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Lets everybody in: for a listener that admits only those it may, such as a unix socket whose owner checked the peer.
#[derive(Clone, Copy, Debug)]
pub struct Trusted;

impl Admission for Trusted {
    fn admit(&self, _: Peer<'_>, _: &Subscription) -> Result<(), Refused> {
        Ok(())
    }
}

/// The gRPC service of a hub.
pub fn service(hub: Arc<Hub>, admission: impl Admission) -> ConfigurationServer<HubService> {
    ConfigurationServer::new(HubService { hub, admission: Arc::new(admission) })
}

/// Implements the `Configuration` service.
pub struct HubService {
    hub: Arc<Hub>,
    admission: Arc<dyn Admission>,
}

#[tonic::async_trait]
impl Configuration for HubService {
    type SubscribeStream = ReceiverStream<Result<FromController, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<FromProxy>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (metadata, extensions, inbound) = request.into_parts();
        let admission = self.admission.clone();
        let admit = move |subscription: &Subscription| {
            let peer = Peer { extensions: &extensions, metadata: &metadata };
            admission
                .admit(peer, subscription)
                .map_err(|refused| Status::permission_denied(refused.to_string()))
        };
        let (outbound, messages) = mpsc::channel(QUEUE);
        // A task of its own: the proxy hears that it is accepted before it has said who it is.
        tokio::spawn(session::run(self.hub.clone(), admit, inbound, outbound));
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}
