//! What a policy says of headers of requests.

use crate::resources::unreadable::Unreadable;
use fairway_config::model::{CertificateHeader, RequestIds, Underscores};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether endpoints are told of clients' certificates.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificateHeader {
    /// They are not.
    Drop,
    /// They are, where certificates are validated.
    Set,
}

/// Whose ids of requests hold.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// Those of clients.
    Keep,
    /// New ones, but for those of proxies that are believed.
    Generate,
}

/// What becomes of headers with an underscore in their names.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderscoresInHeaders {
    /// They go on.
    Keep,
    /// They are taken out.
    Drop,
    /// The request is refused.
    Refuse,
}

// === impl ClientCertificateHeader ===

impl ClientCertificateHeader {
    /// What proxies are told.
    pub(super) fn to_model(&self) -> Result<CertificateHeader, Unreadable> {
        Ok(match self {
            Self::Drop => CertificateHeader::Drop,
            Self::Set => CertificateHeader::Set,
        })
    }
}

// === impl RequestId ===

impl RequestId {
    /// What proxies are told.
    pub(super) fn to_model(&self) -> Result<RequestIds, Unreadable> {
        Ok(match self {
            Self::Keep => RequestIds::Keep,
            Self::Generate => RequestIds::Generate,
        })
    }
}

// === impl UnderscoresInHeaders ===

impl UnderscoresInHeaders {
    /// What proxies are told.
    pub(super) fn to_model(&self) -> Result<Underscores, Unreadable> {
        Ok(match self {
            Self::Keep => Underscores::Keep,
            Self::Drop => Underscores::Drop,
            Self::Refuse => Underscores::Refuse,
        })
    }
}
