//! Who signs identities, as seen by those who need them.

use crate::{SpiffeId, TrustBundle};
use rustls_pki_types::CertificateDer;
use std::future::Future;
use std::pin::Pin;
use tokio::sync::watch;

/// A boxed future that may be sent to another thread: what methods of object-safe traits return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Signs identities and says which roots the mesh has.
pub trait Issuer: Send + Sync + 'static {
    /// Asks for a certificate for this identity and the public key of this PKCS#10 request.
    fn issue(&self, id: SpiffeId, csr_der: Vec<u8>) -> BoxFuture<'_, Result<Issued, IssueError>>;

    /// The roots, as far as known, and every change of them.
    fn bundles(&self) -> watch::Receiver<Option<TrustBundle>>;
}

/// A signed certificate with its chain, and the roots that peers are judged by.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The leaf first, then intermediates; no root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The roots at the time of signing.
    pub bundle: TrustBundle,
}

/// Why no certificate came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The issuer says that we may not have this identity.
    #[error("the issuer refuses: {0}")]
    Refused(String),
    /// The request is not one the issuer can serve.
    #[error("the issuer does not understand the request: {0}")]
    Invalid(String),
    /// The issuer cannot be reached, or is in trouble.
    #[error("the issuer is not available: {0}")]
    Unavailable(String),
}
