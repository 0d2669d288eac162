//! The authority as an issuer for the proxies of the same process.

use super::authority::{Authority, AuthorityError};
use crate::admission::Caller;
use fairway_identity::{BoxFuture, IssueError, Issued, Issuer, SpiffeId, TrustBundle};
use std::sync::Arc;
use tokio::sync::watch;

/// Asks the authority of this process, as [`Caller::ThisProcess`].
#[derive(Clone, Debug)]
pub struct InProcess {
    authority: Arc<Authority>,
}

impl InProcess {
    /// An issuer that asks this authority.
    pub fn new(authority: Arc<Authority>) -> Self {
        Self { authority }
    }
}

impl Issuer for InProcess {
    fn issue(&self, id: SpiffeId, csr_der: Vec<u8>) -> BoxFuture<'_, Result<Issued, IssueError>> {
        Box::pin(async move {
            self.authority.issue(&Caller::ThisProcess, &id, &csr_der).await.map_err(|error| match error {
                AuthorityError::NotEntitled { .. } => IssueError::Refused(error.to_string()),
                AuthorityError::OtherTrustDomain { .. } | AuthorityError::Request(_) => {
                    IssueError::Invalid(error.to_string())
                }
                _ => IssueError::Unavailable(error.to_string()),
            })
        })
    }

    fn bundles(&self) -> watch::Receiver<Option<TrustBundle>> {
        self.authority.bundles()
    }
}
