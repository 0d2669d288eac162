//! The hub over gRPC.

use super::hub::{Hub, HubTerm, QUEUE};
use super::session;
use fairway_config::proto::configuration_server::{Configuration, ConfigurationServer};
use fairway_config::proto::{FromController, FromProxy};
use fairway_config::stream::{Proxy, Subscription};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status, Streaming};
use tracing::warn;

/// Decides who may have which configuration: it holds the private keys of a Gateway's certificates.
///
/// What takes waiting to find out (a token's review, say) belongs into a layer around the service, which leaves what it
/// found in the request's extensions for this to judge.
pub trait Admission: Send + Sync + 'static {
    /// Lets a peer in as what it says it is, and says for how long; or not.
    fn admit(&self, peer: Peer<'_>, subscription: &Subscription) -> Result<StreamLifetime, Refused>;
}

/// For how long a peer is let in: then its stream ends, and it has to come again.
pub struct StreamLifetime(Pin<Box<dyn Future<Output = Status> + Send>>);

impl StreamLifetime {
    /// For as long as the connection.
    pub fn unlimited() -> Self {
        Self::until(std::future::pending())
    }

    /// Until this ends, with what the peer is told.
    pub fn until(end: impl Future<Output = Status> + Send + 'static) -> Self {
        Self(Box::pin(end))
    }

    /// Waits for the end, and says what the peer is told.
    pub(crate) async fn end(&mut self) -> Status {
        (&mut self.0).await
    }
}

impl fmt::Debug for StreamLifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamLifetime")
    }
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
pub enum Refused {
    /// It may never have it.
    #[error("{0}")]
    Forbidden(String),
    /// It may have it, and there is none at the moment: it goes on with what it has.
    #[error("{0}")]
    Unavailable(String),
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Forbidden(why) => Self::permission_denied(why),
            Refused::Unavailable(why) => Self::unavailable(why),
        }
    }
}

/// Lets everybody in: for a listener that admits only those it may, such as a unix socket whose owner checked the peer.
#[derive(Clone, Copy, Debug)]
pub struct Trusted;

impl Admission for Trusted {
    fn admit(&self, _: Peer<'_>, _: &Subscription) -> Result<StreamLifetime, Refused> {
        Ok(StreamLifetime::unlimited())
    }
}

/// The gRPC service of a hub.
pub fn service(hub: Arc<Hub>, admission: impl Admission) -> ConfigurationServer<HubService> {
    let term = hub.term();
    ConfigurationServer::new(HubService {
        hub,
        term,
        admission: Arc::new(admission),
        warnings: Arc::default(),
    })
}

/// Implements the `Configuration` service.
pub struct HubService {
    hub: Arc<Hub>,
    /// It serves in this term only: a replica that no longer leads must not keep a proxy.
    term: HubTerm,
    admission: Arc<dyn Admission>,
    warnings: Arc<Warnings>,
}

/// Who is rejected is logged, but not with each of its tries.
#[derive(Debug, Default)]
struct Warnings {
    last: Mutex<Option<Instant>>,
}

/// The least between two lines.
const PAUSE: Duration = Duration::from_secs(5);

impl Warnings {
    fn warn(&self, proxy: &Proxy, refused: &Refused) {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|it| now.duration_since(it) >= PAUSE) {
            *last = Some(now);
            warn!(%proxy, "a caller is rejected: {refused}");
        }
    }
}

#[tonic::async_trait]
impl Configuration for HubService {
    type SubscribeStream = ReceiverStream<Result<FromController, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<FromProxy>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (metadata, extensions, inbound) = request.into_parts();
        let (admission, warnings) = (self.admission.clone(), self.warnings.clone());
        let admit = move |subscription: &Subscription| {
            let peer = Peer { extensions: &extensions, metadata: &metadata };
            admission.admit(peer, subscription).map_err(|refused| {
                warnings.warn(&subscription.proxy, &refused);
                Status::from(refused)
            })
        };
        let (outbound, messages) = mpsc::channel(QUEUE);
        // A task of its own: the proxy hears that it is accepted before it has said who it is.
        tokio::spawn(session::run(self.hub.clone(), self.term, admit, inbound, outbound));
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}
