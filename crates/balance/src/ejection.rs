//! Outlier ejection and readmission.
//!
//! ```text
//!            connect failure, or two resets in a row
//!   Healthy ────────────────────────────────────────▶ Ejected ◀──────────────┐
//!      ▲                                                 │ 100 ms … 1.8 s     │ claimed: the next
//!      │                                                 ▼                    │ ejection starts
//!      │                                              CheckDue ───────────────┤
//!      │                                                 │ active check       │
//!      │ response                                        ▼ succeeds           │
//!      └──────────────────────────────────────────── ProbeDue ────────────────┘
//! ```

use crate::Moment;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Whether an endpoint may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It may be chosen.
    Healthy,
    /// It must not be chosen.
    Ejected,
    /// The ejection time is over. An active health check decides whether a request may probe the endpoint.
    CheckDue,
    /// The active health check has succeeded. One request, the half-open probe, may be sent.
    ProbeDue,
}

/// The health of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Ejection {
    /// Requests that the endpoint has reset since its last response.
    resets: AtomicU32,
    /// Ejections since the last response.
    ejections: AtomicU32,
    /// The end of the ejection; 0 while the endpoint is healthy.
    until: AtomicU64,
    /// An active health check has succeeded since the ejection began.
    is_checked: AtomicBool,
}

/// Milliseconds of the first ejection. Each failed readmission doubles them.
const BASE_TIME: u64 = 100;
/// Milliseconds of the longest ejection.
const MAX_TIME: u64 = 1_800;
/// Consecutive resets that eject an endpoint. A single one may be the fault of its request.
const CONSECUTIVE_RESETS: u32 = 2;

// === impl Ejection ===

impl Ejection {
    pub(crate) fn record_response(&self) {
        // Written only if they differ: every response comes here, and a store would take the cache line from other threads.
        if self.until.load(Relaxed) != 0 {
            self.until.store(0, Relaxed);
        }
        if self.resets.load(Relaxed) != 0 {
            self.resets.store(0, Relaxed);
        }
        if self.ejections.load(Relaxed) != 0 {
            self.ejections.store(0, Relaxed);
        }
    }

    pub(crate) fn record_connect_failure(&self, now: Moment) {
        let until = self.until.load(Relaxed);
        // A failure during an ejection comes from a request that started before it.
        if until == 0 || until <= now.0 {
            self.eject(until, now);
        }
    }

    pub(crate) fn record_reset(&self, now: Moment) {
        if self.resets.fetch_add(1, Relaxed) + 1 >= CONSECUTIVE_RESETS {
            self.record_connect_failure(now);
        }
    }

    pub(crate) fn record_check_success(&self, now: Moment) {
        let until = self.until.load(Relaxed);
        if until != 0 {
            self.is_checked.store(true, Relaxed);
            // Fails if a response has readmitted the endpoint meanwhile.
            let _ = self.until.compare_exchange(until, now.0.max(1), Relaxed, Relaxed);
        }
    }

    pub(crate) fn health(&self, now: Moment) -> Health {
        match self.until.load(Relaxed) {
            0 => Health::Healthy,
            until if until > now.0 => Health::Ejected,
            _ if self.is_checked.load(Relaxed) => Health::ProbeDue,
            _ => Health::CheckDue,
        }
    }

    pub(crate) fn claim(&self, now: Moment) -> bool {
        let until = self.until.load(Relaxed);
        until != 0 && until <= now.0 && self.eject(until, now)
    }

    /// Starts the next ejection. `false` if another thread has changed the state since `until` was read.
    fn eject(&self, until: u64, now: Moment) -> bool {
        let ejections = self.ejections.load(Relaxed);
        let time = (BASE_TIME << ejections.min(16)).min(MAX_TIME);
        let won = self.until.compare_exchange(until, now.after(time).0.max(1), Relaxed, Relaxed).is_ok();
        if won {
            self.is_checked.store(false, Relaxed);
            self.ejections.store(ejections.saturating_add(1), Relaxed);
        }
        won
    }
}
