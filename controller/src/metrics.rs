//! What the controller counts, for `/metrics`. Labels are words known when it is built: never a name of an object.

use crate::resources::{Kind, Resources};
use crate::serve::Hub;
use fairway_config::stream::Proxy;
use fairway_runtime::metrics::{Metrics, Outcomes};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Upper bounds in seconds: one edit takes less than a millisecond, a large cluster's first compile some seconds.
const COMPILE_BOUNDS: [f64; 15] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// What compiling shows of itself.
#[derive(Clone, Debug)]
pub struct Compiling {
    durations: Histogram,
    objects: Family<KindLabel, Gauge>,
    problems: Gauge,
}

/// What is asked for when somebody looks: the generation, and who is connected.
#[derive(Debug)]
struct Serving(Arc<Hub>);

/// Whether this replica leads.
#[derive(Debug)]
struct Leading(watch::Receiver<bool>);

// === impl Compiling ===

impl Default for Compiling {
    fn default() -> Self {
        Self {
            durations: Histogram::new(COMPILE_BOUNDS),
            objects: Family::default(),
            problems: Gauge::default(),
        }
    }
}

impl Compiling {
    pub(crate) fn register(&self, metrics: &Metrics) {
        metrics.register(
            "compile_duration_seconds",
            "How long changes took to compile",
            self.durations.clone(),
        );
        metrics.register("objects", "Objects that are compiled", self.objects.clone());
        metrics.register("problems", "What is wrong with objects", self.problems.clone());
    }

    /// A change was compiled.
    pub(crate) fn compiled(&self, took: Duration, objects: &Resources, problems: usize) {
        self.durations.observe(took.as_secs_f64());
        for kind in Kind::ALL {
            let gauge = self.objects.get_or_create_owned(&KindLabel { kind: kind.as_str() });
            gauge.set(signed(objects.count(kind)));
        }
        self.problems.set(signed(problems));
    }
}

/// Shows what every controller does: compile, serve proxies, issue identities.
pub(crate) fn show(metrics: &Metrics, compiling: &Compiling, hub: &Arc<Hub>, issued: &Outcomes) {
    compiling.register(metrics);
    let help = "What proxies said to configuration that was sent to them";
    hub.answers().register(metrics, "proxy_answers", help, &["acknowledged", "rejected"]);
    issued.register(metrics, "certificates", "Certificates that proxies asked for", &["issued", "refused"]);
    let serving = Serving(hub.clone());
    metrics.with_registry(|it| it.register_collector(Box::new(serving)));
}

/// Shows whether this replica leads.
pub(crate) fn show_leading(metrics: &Metrics, leads: watch::Receiver<bool>) {
    metrics.with_registry(|it| it.register_collector(Box::new(Leading(leads))));
}

impl Collector for Serving {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let generation =
            encoder.encode_descriptor("generation", "The configuration in force", None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(self.0.generation().0).unwrap_or(i64::MAX)).encode(generation)?;
        let states = self.0.current_states();
        let help = "Proxies that are connected";
        let mut proxies = encoder.encode_descriptor("proxies_connected", help, None, MetricType::Gauge)?;
        let nodes = states.iter().filter(|it| matches!(it.proxy, Proxy::Node(_))).count();
        for (kind, count) in [("gateway", states.len() - nodes), ("node", nodes)] {
            ConstGauge::new(signed(count)).encode(proxies.encode_family(&[("kind", kind)])?)?;
        }
        let behind = states.iter().filter(|it| !it.rejected.is_empty()).count();
        let help = "Proxies that refused a part of their configuration and go on with its last good version";
        let rejecting = encoder.encode_descriptor("proxies_rejecting", help, None, MetricType::Gauge)?;
        ConstGauge::new(signed(behind)).encode(rejecting)
    }
}

impl Collector for Leading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "1 at the replica that leads, 0 at those that are ready to";
        let leads = encoder.encode_descriptor("leads", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(*self.0.borrow())).encode(leads)
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
