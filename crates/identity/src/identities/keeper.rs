//! The task behind one identity: asks, takes, rebuilds when roots change, and lets go at expiry.

use super::schedule::Schedule;
use super::{Cell, Shared};
use crate::request::make_request;
use crate::{IssueError, SpiffeId, Svid, SvidError, TlsIdentity, TlsIdentityError, TrustBundle};
use rcgen::KeyPair;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

/// A machine that sleeps, or whose clock is set, ages its certificates while tokio's clock stands still.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(300);

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("cannot make a key and a request for it: {0}")]
    Request(#[from] rcgen::Error),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("the issuer did not answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    NotTaken(#[from] SvidError),
}

type Fetch = Pin<Box<dyn Future<Output = Result<(Svid, TrustBundle), FetchError>> + Send>>;

struct Keeper {
    shared: Arc<Shared>,
    cell: Arc<Cell>,
    bundles: watch::Receiver<Option<TrustBundle>>,
    svid: Option<Svid>,
    schedule: Schedule,
}

/// Keeps an identity fresh until it is aborted.
pub(super) async fn keep(shared: Arc<Shared>, cell: Arc<Cell>) {
    let (bundles, schedule) = (shared.bundle.subscribe(), Schedule::at_once(cell.clock.now()));
    let mut keeper = Keeper { shared, cell, bundles, svid: None, schedule };
    let mut fetching: Option<Fetch> = None;
    loop {
        let now = keeper.cell.clock.now();
        keeper.let_go_if_expired(now);
        keeper.follow_clock(now);
        if fetching.is_none() && keeper.schedule.due() <= now {
            fetching = Some(Box::pin(fetch(keeper.shared.clone(), keeper.cell.id.clone())));
        }
        let wait = keeper.wait(now, fetching.is_some());
        tokio::select! {
            outcome = finished(&mut fetching) => {
                fetching = None;
                match outcome {
                    Ok((svid, bundle)) => keeper.take(svid, bundle),
                    Err(error) => keeper.note_failure(&error),
                }
            }
            // The sender lives in `shared`.
            Ok(()) = keeper.bundles.changed() => keeper.rebuild(),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Passes on what the issuer says of its roots.
pub(super) async fn follow_bundles(shared: Weak<Shared>, mut bundles: watch::Receiver<Option<TrustBundle>>) {
    bundles.mark_changed();
    while bundles.changed().await.is_ok() {
        let heard = bundles.borrow_and_update().clone();
        let Some(shared) = shared.upgrade() else { return };
        if let Some(heard) = heard {
            shared.learn(heard);
        }
    }
}

async fn finished(fetching: &mut Option<Fetch>) -> Result<(Svid, TrustBundle), FetchError> {
    match fetching {
        Some(fetch) => fetch.await,
        None => std::future::pending().await,
    }
}

async fn fetch(shared: Arc<Shared>, id: SpiffeId) -> Result<(Svid, TrustBundle), FetchError> {
    // Nobody closes the semaphore; were it closed, the bound would go, not the identity.
    let _permit = shared.permits.acquire().await.ok();
    let key = KeyPair::generate()?; // P-256
    let csr = make_request(&id, &key)?;
    let limit = shared.settings.timeout;
    let issued = tokio::time::timeout(limit, shared.issuer.issue(id.clone(), csr))
        .await
        .map_err(|_| FetchError::Timeout(limit))??;
    let svid = Svid::accept(&id, &key, &issued, shared.settings.clock.now())?;
    Ok((svid, issued.bundle))
}

// === impl Keeper ===

impl Keeper {
    fn wait(&self, now: SystemTime, fetching: bool) -> Duration {
        let expiry = self.svid.as_ref().map(|it| it.not_after);
        let due = (!fetching).then(|| self.schedule.due());
        [expiry, due]
            .into_iter()
            .flatten()
            .map(|at| at.duration_since(now).unwrap_or_default())
            .fold(LOOK_AT_THE_CLOCK, Duration::min)
    }

    fn let_go_if_expired(&mut self, now: SystemTime) {
        if self.svid.as_ref().is_some_and(|it| it.not_after <= now) {
            error!(id = %self.cell.id, "the certificate has expired and there is no other: connections are refused");
            self.svid = None;
            self.cell.publish(None);
        }
    }

    fn follow_clock(&mut self, now: SystemTime) {
        let valid = self.svid.as_ref().filter(|it| it.not_before <= now).map(|it| it.not_after);
        self.schedule.follow_clock(now, valid, self.shared.backoff);
    }

    fn take(&mut self, svid: Svid, bundle: TrustBundle) {
        self.shared.learn(bundle);
        let now = self.cell.clock.now();
        let renewed = self.svid.is_some();
        self.schedule.succeeded(now, svid.not_after, rand::random());
        self.cell.report(self.schedule.due(), None);
        self.svid = Some(svid);
        self.rebuild();
        if renewed {
            debug!(id = %self.cell.id, "certificate renewed");
        } else {
            info!(id = %self.cell.id, "certificate obtained");
        }
    }

    fn note_failure(&mut self, error: &FetchError) {
        let now = self.cell.clock.now();
        self.schedule.failed(now, self.shared.backoff, rand::random());
        self.cell.report(self.schedule.due(), Some(error.to_string()));
        let retry_seconds = self.schedule.due().duration_since(now).unwrap_or_default().as_secs_f64();
        match &self.svid {
            Some(svid) => {
                let remaining_seconds = svid.not_after.duration_since(now).unwrap_or_default().as_secs_f64();
                warn!(id = %self.cell.id, remaining_seconds, retry_seconds, "the certificate in use could not be renewed: {error}");
            }
            None => {
                warn!(id = %self.cell.id, retry_seconds, "no certificate, connections have to wait: {error}")
            }
        }
    }

    /// Publishes the certificate with the newest roots. If these do not fit together, what is published stays.
    fn rebuild(&mut self) {
        let bundle = self.bundles.borrow_and_update().clone();
        let (Some(svid), Some(bundle)) = (&self.svid, bundle) else {
            return;
        };
        match TlsIdentity::new(svid, &bundle, &self.cell.clock) {
            Ok(identity) => self.cell.publish(Some(Arc::new(identity))),
            Err(error) => self.complain(&error),
        }
        let now = self.cell.clock.now();
        if svid.not_after > now && svid.verify(&bundle, now).is_err() {
            // Its root has been dropped: peers refuse it, although its time is not over.
            self.schedule.hasten(now, self.shared.backoff, rand::random());
        }
    }

    fn complain(&self, error: &TlsIdentityError) {
        error!(id = %self.cell.id, "a new certificate or new roots cannot be used, the old ones stay: {error}");
    }
}
