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
    not_before: SystemTime,
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
            let left = self.current.load().left(self.authority.now());
            tokio::time::sleep(left.min(LOOK_AT_THE_CLOCK)).await;
            if !self.current.load().left(self.authority.now()).is_zero() {
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
        let ServingCertificate { chain, key, not_before, not_after } = authority.issue_serving(names)?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
        let now = authority.now();
        let life = not_after.duration_since(now).unwrap_or_default();
        Ok(Self { certified: Arc::new(certified), not_before, renew_at: now + life / 2 })
    }

    /// How long it is to be used. A certificate of the future is not valid: it was made by a clock that was ahead.
    fn left(&self, now: SystemTime) -> Duration {
        match now < self.not_before {
            true => Duration::ZERO,
            false => self.renew_at.duration_since(now).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::SameUser;
    use crate::ca::{Memory, Settings};
    use fairway_identity::testing::SettableClock;
    use x509_parser::prelude::{FromDer, X509Certificate};

    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// Whether a client takes the certificate with which the controller serves now.
    fn is_valid(serving: &Serving) -> bool {
        let certified = serving.current.load().certified.clone();
        let (_, leaf) = X509Certificate::from_der(certified.end_entity_cert().unwrap()).unwrap();
        let now = serving.authority.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
        (leaf.validity().not_before.timestamp()..leaf.validity().not_after.timestamp()).contains(&now)
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_ahead_leaves_no_certificate_of_the_future() {
        let clock = SettableClock::start();
        let settings = Settings { clock: clock.clone(), ..Settings::default() };
        let trust_domain = "cluster.local".parse().unwrap();
        let opened = Authority::open(trust_domain, settings, Memory::default(), SameUser::as_this_process());
        let serving = Serving::start(opened.await.unwrap(), vec!["fairway-controller".to_owned()]).unwrap();
        let keeping = serving.clone();
        let _kept = tokio::spawn(async move { keeping.keep().await });
        for ahead in [YEAR, Duration::ZERO, YEAR / 365, Duration::ZERO] {
            clock.set_ahead(ahead);
            tokio::time::sleep(LOOK_AT_THE_CLOCK + TRY_AGAIN).await;
            assert!(is_valid(&serving), "{ahead:?} ahead");
        }
    }
}
