//! What became of many attempts, for what is done off the paths of requests.

use super::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// Counts attempts by what became of them. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Outcomes(Family<Label, Counter>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    outcome: &'static str,
}

// === impl Outcomes ===

impl Outcomes {
    /// One more that ended so.
    pub fn count(&self, outcome: &'static str) {
        self.0.get_or_create(&Label { outcome }).inc();
    }

    /// Adds it under this name, at 0 for each of these outcomes.
    pub fn register(&self, metrics: &Metrics, name: &str, help: &str, outcomes: &[&'static str]) {
        for outcome in outcomes {
            drop(self.0.get_or_create(&Label { outcome }));
        }
        metrics.register(name, help, self.0.clone());
    }
}
