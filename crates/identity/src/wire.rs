//! The messages of the identity service, and what they must be to be taken.

pub use generated::identity_client::IdentityClient;
pub use generated::identity_server::{Identity, IdentityServer};
pub use generated::{Bundle, BundlesRequest, IssueRequest, IssueResponse};

use crate::{InvalidSpiffeId, Issued, TrustBundle, TrustDomain};
use rustls_pki_types::CertificateDer;

#[allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]
mod generated {
    tonic::include_proto!("fairway.identity.v1");
}

/// Why a message is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    /// An answer without roots or without a certificate is of no use.
    #[error("the message has no {0}")]
    Missing(&'static str),
    /// Not the name of a trust domain.
    #[error(transparent)]
    TrustDomain(#[from] InvalidSpiffeId),
}

impl TryFrom<Bundle> for TrustBundle {
    type Error = InvalidMessage;

    fn try_from(bundle: Bundle) -> Result<Self, Self::Error> {
        if bundle.roots.is_empty() {
            return Err(InvalidMessage::Missing("roots"));
        }
        if bundle.revision == 0 {
            return Err(InvalidMessage::Missing("revision"));
        }
        Ok(Self {
            trust_domain: TrustDomain::new(&bundle.trust_domain)?,
            roots: bundle.roots.into_iter().map(CertificateDer::from).collect(),
            revision: bundle.revision,
        })
    }
}

impl From<&TrustBundle> for Bundle {
    fn from(bundle: &TrustBundle) -> Self {
        Self {
            trust_domain: bundle.trust_domain.to_string(),
            roots: bundle.roots.iter().map(|it| it.to_vec()).collect(),
            revision: bundle.revision,
        }
    }
}

impl TryFrom<IssueResponse> for Issued {
    type Error = InvalidMessage;

    fn try_from(response: IssueResponse) -> Result<Self, Self::Error> {
        if response.chain.is_empty() {
            return Err(InvalidMessage::Missing("certificate"));
        }
        let bundle = response.bundle.ok_or(InvalidMessage::Missing("bundle"))?;
        Ok(Self {
            chain: response.chain.into_iter().map(CertificateDer::from).collect(),
            bundle: bundle.try_into()?,
        })
    }
}

impl From<&Issued> for IssueResponse {
    fn from(issued: &Issued) -> Self {
        Self {
            chain: issued.chain.iter().map(|it| it.to_vec()).collect(),
            bundle: Some((&issued.bundle).into()),
        }
    }
}
