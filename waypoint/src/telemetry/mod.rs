//! What a worker tells of what it carries: a record of each request and stream, and counters of the proxy as a whole.

mod exchange;
mod metrics;
mod outcome;
mod policy;
mod streams;

pub use exchange::Exchange;
pub(crate) use fairway_telemetry::describe_denial;
pub use metrics::{Counters, Metrics};
pub(crate) use policy::{BytesRefusal, Observed, describe_bytes_refusal, describe_limit, describe_limits};
pub use streams::{StreamCounters, StreamKind, StreamRecord};

use crate::settings::ProxySettings;
use fairway_runtime::workers::WorkerId;
use fairway_telemetry::{Padded, Recorder};
use std::rc::Rc;
use std::sync::Arc;

/// One worker's telemetry, to which no other thread writes.
#[derive(Debug)]
pub struct Telemetry {
    /// Counters of the proxy as a whole.
    pub counters: Arc<Padded<Counters>>,
    /// Makes the records that metrics and the access log come from.
    pub recorder: Rc<Recorder>,
}

// === impl Telemetry ===

impl Telemetry {
    /// A worker's own. Each takes its own once, on its own thread.
    pub fn for_worker(metrics: &Metrics, worker: WorkerId, settings: &ProxySettings) -> Option<Self> {
        let counters = metrics.counters.get(worker)?.clone();
        let recorder = metrics.telemetry.recorder(worker, settings.access_log, settings.identity.clone())?;
        Some(Self { counters, recorder })
    }
}
