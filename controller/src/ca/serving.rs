//! The certificate with which the controller itself serves: signed by the mesh's root for its DNS names, renewed in time.

use super::authority::{Authority, AuthorityError, ServingCertificate};
use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tracing::{debug, error};

/// A machine that sleeps, or whose clock is set, needs a new one while tokio's clock stands still.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(300);
/// The pause after one could not be made.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// The certificate with which the controller serves.
pub struct Serving {
    authority: Arc<Authority>,
    names: Vec<String>,
    current: ArcSwap<Current>,
}

struct Current {
    certified: Arc<CertifiedKey>,
    renew_at: SystemTime,
}

// === impl Serving ===

impl Serving {
    /// Makes the first certificate for these DNS names.
    pub fn start(authority: Arc<Authority>, names: Vec<String>) -> Result<Arc<Self>, AuthorityError> {
        let current = Current::make(&authority, &names)?;
        Ok(Arc::new(Self { authority, names, current: ArcSwap::from_pointee(current) }))
    }

    /// Renews it with half of its life over. Run it for as long as something is served.
    pub async fn keep(&self) {
        loop {
            let left = self.current.load().renew_at.duration_since(self.authority.now()).unwrap_or_default();
            tokio::time::sleep(left.min(LOOK_AT_THE_CLOCK)).await;
            if self.authority.now() < self.current.load().renew_at {
                continue;
            }
            match Current::make(&self.authority, &self.names) {
                Ok(current) => {
                    debug!(names = ?self.names, "the certificate with which the controller serves is renewed");
                    self.current.store(Arc::new(current));
                }
                Err(error) => {
                    error!("the controller's own certificate cannot be renewed, it is tried again: {error}");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().certified.clone())
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("names", &self.names).finish_non_exhaustive()
    }
}

// === impl Current ===

impl Current {
    fn make(authority: &Authority, names: &[String]) -> Result<Self, AuthorityError> {
        let ServingCertificate { chain, key, not_after } = authority.issue_serving(names)?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
        let now = authority.now();
        let life = not_after.duration_since(now).unwrap_or_default();
        Ok(Self { certified: Arc::new(certified), renew_at: now + life / 2 })
    }
}
