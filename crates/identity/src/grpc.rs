//! The controller as an issuer, over gRPC.

use crate::backoff::Backoff;
use crate::wire::{BundlesRequest, IdentityClient, IssueRequest};
use crate::{
    BoxFuture, CallingChannel, ControllerChannel, IssueError, Issued, Issuer, SpiffeId, TrustBundle,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::{Code, Status};
use tracing::{debug, warn};

const RECONNECT: Backoff = Backoff { first: Duration::from_millis(200), last: Duration::from_secs(15) };

/// Asks the controller. It follows the stream of roots for as long as it lives.
#[derive(Debug)]
pub struct GrpcIssuer {
    client: IdentityClient<CallingChannel>,
    bundles: watch::Receiver<Option<TrustBundle>>,
    following: AbortHandle,
}

/// Why the stream of roots ended.
#[derive(Debug, thiserror::Error)]
enum StreamEnd {
    #[error("{0}")]
    Status(#[from] Status),
    #[error("the controller ended it")]
    Ended,
}

impl GrpcIssuer {
    /// Starts to follow the roots; call it inside the runtime that shall do so.
    pub fn start(channel: impl Into<ControllerChannel>) -> Arc<Self> {
        let client = IdentityClient::new(channel.into().into_service());
        let (publish, bundles) = watch::channel(None);
        let following = tokio::spawn(follow(client.clone(), publish)).abort_handle();
        Arc::new(Self { client, bundles, following })
    }
}

impl Issuer for GrpcIssuer {
    fn issue(&self, id: SpiffeId, csr_der: Vec<u8>) -> BoxFuture<'_, Result<Issued, IssueError>> {
        let mut client = self.client.clone();
        let request = IssueRequest { identity: id.to_string(), certificate_request: csr_der };
        Box::pin(async move {
            let response = client.issue(request).await.map_err(|status| issue_error(&status))?;
            response
                .into_inner()
                .try_into()
                .map_err(|error| IssueError::Unavailable(format!("its answer cannot be used: {error}")))
        })
    }

    fn bundles(&self) -> watch::Receiver<Option<TrustBundle>> {
        self.bundles.clone()
    }
}

impl Drop for GrpcIssuer {
    fn drop(&mut self) {
        self.following.abort();
    }
}

fn issue_error(status: &Status) -> IssueError {
    let said = status.message().to_owned();
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => IssueError::Refused(said),
        Code::InvalidArgument => IssueError::Invalid(said),
        code => IssueError::Unavailable(format!("{code}: {said}")),
    }
}

async fn follow(mut client: IdentityClient<CallingChannel>, publish: watch::Sender<Option<TrustBundle>>) {
    let mut failures = 0;
    loop {
        let end = follow_once(&mut client, &publish, &mut failures).await;
        let wait = RECONNECT.pause(failures, rand::random());
        debug!(retry_seconds = wait.as_secs_f64(), "the stream of roots ended: {end}");
        tokio::time::sleep(wait).await;
        failures = failures.saturating_add(1);
    }
}

async fn follow_once(
    client: &mut IdentityClient<CallingChannel>,
    publish: &watch::Sender<Option<TrustBundle>>,
    failures: &mut u32,
) -> StreamEnd {
    let mut stream = match client.bundles(BundlesRequest {}).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status.into(),
    };
    loop {
        match stream.message().await {
            Ok(Some(bundle)) => match TrustBundle::try_from(bundle) {
                Ok(bundle) => {
                    *failures = 0;
                    publish.send_replace(Some(bundle));
                }
                Err(error) => {
                    warn!("the controller sent roots that cannot be used; the known ones stay: {error}")
                }
            },
            Ok(None) => return StreamEnd::Ended,
            Err(status) => return status.into(),
        }
    }
}
