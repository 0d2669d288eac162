//! What a worker tells of its requests: counters that cost a few nanoseconds, and a log that costs nothing when off.

mod access;
mod exchange;
mod metrics;
mod streams;

pub use access::Entry;
pub use exchange::Exchange;
pub use metrics::{Counters, Metrics, count};
pub use streams::{StreamCounters, StreamKind, StreamRecord};

use crate::settings::AccessLogging;
use fairway_config::model::SpiffeId;
use std::cell::Cell;
use std::sync::Arc;

/// A worker's telemetry.
#[derive(Debug)]
pub struct Telemetry {
    /// Its counters.
    pub counters: Arc<Counters>,
    /// The proxy's own identity.
    pub identity: Option<SpiffeId>,
    logging: AccessLogging,
    until_logged: Cell<u32>,
}

// === impl Telemetry ===

impl Telemetry {
    /// Counts into `counters`.
    pub fn new(counters: Arc<Counters>, identity: Option<SpiffeId>, logging: AccessLogging) -> Self {
        Self { counters, identity, logging, until_logged: Cell::new(0) }
    }

    /// Whether this request is remembered for the log, and if so whether it is logged in any case.
    fn samples(&self) -> Option<access::Sampled> {
        match self.logging {
            AccessLogging::Off => None,
            AccessLogging::Errors => Some(access::Sampled::IfError),
            AccessLogging::OneIn(many) => {
                let left = self.until_logged.get();
                self.until_logged.set(if left == 0 { many.saturating_sub(1) } else { left - 1 });
                Some(if left == 0 { access::Sampled::Always } else { access::Sampled::IfError })
            }
        }
    }
}
