//! Metrics: a registry, and counters that workers count in without disturbing each other.

mod outcomes;
mod per_worker;
mod process;

pub use outcomes::Outcomes;
pub use per_worker::{Count, Durations, PerWorker, WorkerCounter, WorkerDurations};
pub use prometheus_client::registry::{Metric, Registry};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The metrics of a program. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// Every name begins with `fairway_`; what every process has (memory, processor time, open files, version) is in it
    /// already.
    pub fn new(program: &'static str, version: &'static str) -> Self {
        let mut registry = Registry::with_prefix("fairway");
        process::register(&mut registry, program, version);
        Self(Arc::new(Mutex::new(registry)))
    }

    /// Adds a metric under `fairway_<name>`. Counters are given without `_total`, which the format adds.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.registry().register(name, help, metric);
    }

    /// For collectors and sub-registries.
    pub fn with_registry<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        change(&mut self.registry())
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` does not fail; a collector that does has its reasons, and the others still count.
        if prometheus_client::encoding::text::encode(&mut text, &self.registry()).is_err() {
            tracing::warn!("a metric could not be written");
        }
        text
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::WorkerId;
    use std::num::NonZeroUsize;
    use std::time::Duration;

    #[test]
    fn what_workers_count_is_summed_when_it_is_read() {
        let metrics = Metrics::new("test", "1.2.3");
        let workers = NonZeroUsize::new(2).unwrap();
        let (requests, durations) = (WorkerCounter::new(workers), WorkerDurations::new(workers));
        metrics.register("requests", "Requests served", requests.clone());
        metrics.register("request_duration_seconds", "How long they took", durations.clone());
        for worker in [0, 1, 1] {
            requests.of(WorkerId(worker)).increment();
            durations.of(WorkerId(worker)).observe(Duration::from_millis(3));
        }
        let text = metrics.encode();
        for line in [
            "fairway_requests_total 3",
            "fairway_request_duration_seconds_count 3",
            "fairway_request_duration_seconds_sum 0.009",
            "fairway_request_duration_seconds_bucket{le=\"0.0025\"} 0",
            "fairway_request_duration_seconds_bucket{le=\"0.005\"} 3",
            "fairway_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "fairway_build_info{program=\"test\",version=\"1.2.3\"} 1",
        ] {
            assert!(text.lines().any(|it| it == line), "`{line}` is not in\n{text}");
        }
        assert!(text.contains("fairway_process_resident_memory_bytes "), "{text}");
    }
}
