//! What a policy says of headers of requests.

use crate::resources::unreadable::Unreadable;
use fairway_config::model::{CertificateHeader, RequestIds, Underscores};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Set tells endpoints in X-Forwarded-Client-Cert whose certificate the client has shown, where certificates of clients are
/// validated. What clients say there themselves is dropped in any case. Without it Drop.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificateHeader {
    /// They are told nothing.
    Drop,
    /// They are, where certificates are validated.
    Set,
}

/// Whose X-Request-Id holds. Keep: that of the client, if it is one word of at most 64 characters. Generate: a new one, but for those
/// of the proxies that are believed in clientAddress where they speak HTTP. New ones are UUIDs of version 7, which sort by their time.
/// Without it each request gets a new one of version 4.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// Those of clients hold.
    Keep,
    /// New ones, but for those of proxies that are believed.
    Generate,
}

/// What becomes of headers with an underscore in their names, which some servers take for a hyphen. Keep: they go on, but for those that
/// would be taken for a header that matters. Drop: they are taken out. Refuse: 400. Without it Keep.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderscoresInHeaders {
    /// They go on to endpoints.
    Keep,
    /// They are taken out.
    Drop,
    /// The request is refused.
    Refuse,
}

// === impl ClientCertificateHeader ===

impl ClientCertificateHeader {
    /// What proxies are told.
    pub(super) fn to_model(self) -> Result<CertificateHeader, Unreadable> {
        Ok(match self {
            Self::Drop => CertificateHeader::Drop,
            Self::Set => CertificateHeader::Set,
        })
    }
}

// === impl RequestId ===

impl RequestId {
    /// What proxies are told.
    pub(super) fn to_model(self) -> Result<RequestIds, Unreadable> {
        Ok(match self {
            Self::Keep => RequestIds::Keep,
            Self::Generate => RequestIds::Generate,
        })
    }
}

// === impl UnderscoresInHeaders ===

impl UnderscoresInHeaders {
    /// What proxies are told.
    pub(super) fn to_model(self) -> Result<Underscores, Unreadable> {
        Ok(match self {
            Self::Keep => Underscores::Keep,
            Self::Drop => Underscores::Drop,
            Self::Refuse => Underscores::Refuse,
        })
    }
}
