//! The registry of a program's metrics, and counters for what is done off the paths of requests. What proxies carry is
//! counted by `fairway-telemetry`.

mod outcomes;
mod process;

pub use outcomes::Outcomes;
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

    #[test]
    fn every_program_says_what_it_is_and_uses() {
        let metrics = Metrics::new("test", "1.2.3");
        let attempts = Outcomes::default();
        attempts.register(&metrics, "attempts", "Attempts, by what became of them", &["done", "failed"]);
        attempts.count("done");
        let text = metrics.encode();
        for line in [
            "fairway_attempts_total{outcome=\"done\"} 1",
            "fairway_attempts_total{outcome=\"failed\"} 0",
            "fairway_build_info{program=\"test\",version=\"1.2.3\"} 1",
        ] {
            assert!(text.lines().any(|it| it == line), "`{line}` is not in\n{text}");
        }
        assert!(text.contains("fairway_process_resident_memory_bytes "), "{text}");
    }
}
