//! The authority over gRPC.

use super::authority::{Authority, AuthorityError};
use crate::admission::Caller;
use fairway_identity::wire::{Bundle, BundlesRequest, Identity, IdentityServer, IssueRequest, IssueResponse};
use fairway_identity::{InvalidSpiffeId, SpiffeId};
use fairway_runtime::drain::{Phase, Watch};
use fairway_runtime::metrics::Outcomes;
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tracing::{debug, error, warn};

/// Serves an authority to proxies.
#[derive(Clone, Debug)]
pub struct IdentityService {
    authority: Arc<Authority>,
    drain: Watch,
    issued: Outcomes,
}

impl IdentityService {
    /// A gRPC service for a server that ends with this drain; streams of roots are ended when it begins, as they would
    /// never end by themselves.
    pub fn server(authority: Arc<Authority>, drain: Watch, issued: Outcomes) -> IdentityServer<Self> {
        // Requests are under a kilobyte; nobody gets to make us hold megabytes.
        IdentityServer::new(Self { authority, drain, issued }).max_decoding_message_size(16 * 1024)
    }
}

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn issue(&self, request: Request<IssueRequest>) -> Result<Response<IssueResponse>, Status> {
        let caller = Caller::from_request(&request);
        let IssueRequest { identity, certificate_request } = request.into_inner();
        let id: SpiffeId =
            identity.parse().map_err(|error: InvalidSpiffeId| Status::invalid_argument(error.to_string()))?;
        match self.authority.issue(&caller, &id, &certificate_request).await {
            Ok(issued) => {
                debug!(%id, ?caller, "identity issued");
                self.issued.count("issued");
                Ok(Response::new((&issued).into()))
            }
            Err(refusal) => {
                self.issued.count("refused");
                Err(status(&refusal, &caller))
            }
        }
    }

    type BundlesStream = Pin<Box<dyn Stream<Item = Result<Bundle, Status>> + Send>>;

    async fn bundles(
        &self,
        request: Request<BundlesRequest>,
    ) -> Result<Response<Self::BundlesStream>, Status> {
        let (drain, caller) = (self.drain.clone(), Caller::from_request(&request));
        let bundles = WatchStream::new(self.authority.bundles())
            .filter_map(|bundle| std::future::ready(bundle.map(|it| Ok(Bundle::from(&it)))))
            .take_until(async move {
                tokio::select! {
                    () = drain.reached(Phase::Draining) => {}
                    () = caller.expired() => {}
                }
            });
        Ok(Response::new(Box::pin(bundles)))
    }
}

fn status(refusal: &AuthorityError, caller: &Caller) -> Status {
    let said = refusal.to_string();
    match refusal {
        AuthorityError::NotEntitled { .. } => {
            warn!(?caller, "{said}");
            Status::permission_denied(said)
        }
        AuthorityError::OtherTrustDomain { .. } | AuthorityError::Request(_) => {
            warn!(?caller, "{said}");
            Status::invalid_argument(said)
        }
        _ => {
            error!(?caller, "{said}");
            Status::unavailable(said)
        }
    }
}
