//! The identities a process holds: obtained when first asked for, renewed while someone holds them, then forgotten.

mod keeper;
mod schedule;

#[cfg(test)]
mod tests;

use crate::backoff::Backoff;
use crate::{Issuer, SharedClock, SpiffeId, SystemClock, TlsIdentity, TrustBundle};
use arc_swap::ArcSwapOption;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

/// How identities are obtained.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By which certificates begin and expire.
    pub clock: SharedClock,
    /// How many requests to the issuer may be under way at once: a node that starts asks for hundreds.
    pub concurrency: usize,
    /// How long one request may take.
    pub timeout: Duration,
    /// The pause after a first failure; each further one doubles it.
    pub first_retry: Duration,
    /// The longest pause between two attempts.
    pub last_retry: Duration,
}

/// Obtains and renews identities. Cheap to clone.
///
/// Renewal runs on the runtime that [`Identities::start`] was called in; handles may be used on any thread.
#[derive(Clone)]
pub struct Identities(Arc<Shared>);

/// Someone's interest in an identity: while one exists, the identity is kept fresh.
#[derive(Clone)]
pub struct IdentityHandle {
    renewal: Arc<Renewal>,
    seen: watch::Receiver<()>,
}

/// How it stands with an identity, for people.
#[derive(Clone, Debug, Serialize)]
pub struct IdentityState {
    /// The identity that the certificate is for.
    pub id: SpiffeId,
    /// How long the certificate is still valid; none if there is none.
    pub expires_in_seconds: Option<u64>,
    /// When the next request to the issuer is due; 0 while one is under way.
    pub renews_in_seconds: u64,
    /// What the last request failed with, if it failed.
    pub failure: Option<String>,
}

struct Shared {
    issuer: Arc<dyn Issuer>,
    settings: Settings,
    backoff: Backoff,
    permits: Semaphore,
    runtime: Handle,
    /// The newest roots that were heard of, on whichever way.
    bundle: watch::Sender<Option<TrustBundle>>,
    renewals: Mutex<HashMap<SpiffeId, Weak<Renewal>>>,
}

/// What all handles of one identity share; its end is the end of the renewal.
struct Renewal {
    cell: Arc<Cell>,
    task: AbortHandle,
    identities: Weak<Shared>,
}

/// Where renewal puts what it got.
struct Cell {
    id: SpiffeId,
    clock: SharedClock,
    current: ArcSwapOption<TlsIdentity>,
    changes: watch::Sender<()>,
    progress: Mutex<Progress>,
}

#[derive(Clone, Debug)]
struct Progress {
    due: SystemTime,
    failure: Option<String>,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            concurrency: 16,
            timeout: Duration::from_secs(10),
            first_retry: Duration::from_millis(200),
            last_retry: Duration::from_secs(30),
        }
    }
}

// === impl Identities ===

impl Identities {
    /// Starts with no identity. Call it in the runtime that shall do the renewing.
    pub fn start(issuer: Arc<dyn Issuer>, settings: Settings) -> Self {
        let bundles = issuer.bundles();
        let shared = Arc::new(Shared {
            issuer,
            backoff: Backoff { first: settings.first_retry, last: settings.last_retry },
            permits: Semaphore::new(settings.concurrency.max(1)),
            settings,
            runtime: Handle::current(),
            bundle: watch::Sender::new(None),
            renewals: Mutex::default(),
        });
        shared.runtime.spawn(keeper::follow_bundles(Arc::downgrade(&shared), bundles));
        Self(shared)
    }

    /// Begins to obtain this identity, or joins those who hold it already.
    pub fn subscribe(&self, id: &SpiffeId) -> IdentityHandle {
        let mut renewals = self.0.renewals();
        if let Some(renewal) = renewals.get(id).and_then(Weak::upgrade) {
            return IdentityHandle::new(renewal);
        }
        let clock = self.0.settings.clock.clone();
        let progress = Progress { due: clock.now(), failure: None };
        let cell = Arc::new(Cell {
            id: id.clone(),
            clock,
            current: ArcSwapOption::empty(),
            changes: watch::Sender::new(()),
            progress: Mutex::new(progress),
        });
        let task = self.0.runtime.spawn(keeper::keep(self.0.clone(), cell.clone())).abort_handle();
        let renewal = Arc::new(Renewal { cell, task, identities: Arc::downgrade(&self.0) });
        renewals.insert(id.clone(), Arc::downgrade(&renewal));
        IdentityHandle::new(renewal)
    }

    /// Every identity that is held, in order of its name.
    pub fn states(&self) -> Vec<IdentityState> {
        let renewals: Vec<_> = self.0.renewals().values().filter_map(Weak::upgrade).collect();
        let mut states: Vec<_> = renewals.iter().map(|it| it.cell.state()).collect();
        states.sort_by(|a, b| a.id.cmp(&b.id));
        states
    }

    /// The newest roots that were heard of.
    pub fn bundle(&self) -> Option<TrustBundle> {
        self.0.bundle.borrow().clone()
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("held", &self.0.renewals().len()).finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    /// Held for a look-up only, never across an await or a request.
    fn renewals(&self) -> MutexGuard<'_, HashMap<SpiffeId, Weak<Renewal>>> {
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes roots that came from the issuer, unless newer ones are known.
    fn learn(&self, heard: TrustBundle) {
        self.bundle.send_if_modified(|known| {
            let newer = known.as_ref().is_none_or(|known| known.revision < heard.revision);
            if newer {
                *known = Some(heard);
            }
            newer
        });
    }
}

// === impl IdentityHandle ===

impl IdentityHandle {
    fn new(renewal: Arc<Renewal>) -> Self {
        let seen = renewal.cell.changes.subscribe();
        Self { renewal, seen }
    }

    /// Whose identity it is.
    pub fn id(&self) -> &SpiffeId {
        &self.renewal.cell.id
    }

    /// The identity now; none before the first certificate and after the end of the last. Takes no lock.
    pub fn current(&self) -> Option<Arc<TlsIdentity>> {
        self.renewal.cell.current()
    }

    /// Waits for a valid identity. It may wait for ever: put a time limit around it and refuse at its end.
    pub async fn ready(&self) -> Arc<TlsIdentity> {
        let mut changes = self.renewal.cell.changes.subscribe();
        loop {
            if let Some(identity) = self.current() {
                return identity;
            }
            // The sender lives in the renewal that this handle holds, so there is no error to see.
            let _ = changes.changed().await;
        }
    }

    /// Waits until the identity is another one than at the last call (or when the handle was made): renewed, with other
    /// roots, or gone.
    pub async fn changed(&mut self) {
        let _ = self.seen.changed().await;
    }

    /// How it stands with it.
    pub fn state(&self) -> IdentityState {
        self.renewal.cell.state()
    }
}

impl fmt::Debug for IdentityHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdentityHandle").field(self.id()).finish()
    }
}

// === impl Renewal ===

impl Drop for Renewal {
    fn drop(&mut self) {
        self.task.abort();
        let Some(identities) = self.identities.upgrade() else {
            return;
        };
        let mut renewals = identities.renewals();
        // Someone may have subscribed anew since the last handle went; theirs stays.
        if renewals.get(&self.cell.id).is_some_and(|it| it.strong_count() == 0) {
            renewals.remove(&self.cell.id);
        }
    }
}

// === impl Cell ===

impl Cell {
    fn current(&self) -> Option<Arc<TlsIdentity>> {
        let current = self.current.load();
        current.as_ref().filter(|it| self.clock.now() < it.expires()).cloned()
    }

    fn publish(&self, identity: Option<Arc<TlsIdentity>>) {
        self.current.store(identity);
        self.changes.send_replace(());
    }

    fn report(&self, due: SystemTime, failure: Option<String>) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Progress { due, failure };
    }

    fn state(&self) -> IdentityState {
        let now = self.clock.now();
        let seconds_until = |at: SystemTime| at.duration_since(now).unwrap_or_default().as_secs();
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
        IdentityState {
            id: self.id.clone(),
            expires_in_seconds: self.current().map(|it| seconds_until(it.expires())),
            renews_in_seconds: seconds_until(progress.due),
            failure: progress.failure,
        }
    }
}
