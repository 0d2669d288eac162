//! Counters of the proxy as a whole. Each worker writes its own, so that none waits for another; a scrape adds them up.

use super::streams::{self, StreamCounters};
use crate::reason::Reason;
use crate::settings::ProxySettings;
use fairway_config::model::ObjectName;
use fairway_telemetry::{Count, PerWorker, Telemetry};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;
use std::borrow::Cow;
use std::fmt;

/// One worker's counters. Written by one thread only, so an increment is a load and a store.
#[derive(Debug, Default)]
pub struct Counters {
    begun: Count,
    ended: Count,
    by_reason: ByReason,
    /// Client connections accepted, those refused later included.
    pub connections: Count,
    /// Client connections that never became requests: failed handshakes, unknown protocols.
    pub connections_refused: Count,
    /// Connections made to endpoints.
    pub upstream_connects: Count,
    /// Connections to endpoints that could not be made.
    pub upstream_connect_failures: Count,
    /// Tries beyond the first.
    pub retries: Count,
    /// Copies of requests that were sent to a mirror.
    pub mirrored: Count,
    /// Requests that should have been mirrored, but the body was too long or too many mirrors were under way.
    pub mirrors_dropped: Count,
    /// Byte streams and datagrams.
    pub streams: StreamCounters,
}

/// A counter for each reason.
#[derive(Debug)]
struct ByReason([Count; Reason::LABELS.len()]);

impl Default for ByReason {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Count::default()))
    }
}

/// What all workers count, for a registry.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) gateway: ObjectName,
    pub(crate) counters: PerWorker<Counters>,
    pub(crate) telemetry: Telemetry,
}

type Choose = fn(&Counters) -> &Count;

// === impl Counters ===

impl Counters {
    pub(super) fn begin(&self) {
        self.begun.increment();
    }

    pub(super) fn end(&self, reason: Option<Reason>) {
        self.ended.increment();
        if let Some(counter) = reason.and_then(|it| self.by_reason.0.get(it.index())) {
            counter.increment();
        }
    }

    /// Requests that have begun and not ended; never below 0, whichever is read first.
    pub fn active(&self) -> u64 {
        self.begun.get().saturating_sub(self.ended.get())
    }
}

// === impl Metrics ===

impl Metrics {
    /// For this proxy, of which nothing was counted yet.
    pub(crate) fn new(settings: &ProxySettings) -> Self {
        Self {
            gateway: settings.gateway.clone(),
            counters: PerWorker::new(settings.workers),
            telemetry: Telemetry::new(settings.workers, settings.series),
        }
    }

    /// Shows all of it, with the Gateway as a label.
    pub fn register(self, registry: &mut Registry) {
        let gateway = (Cow::from("gateway"), Cow::from(self.gateway.to_string()));
        registry.sub_registry_with_label(gateway).register_collector(Box::new(self));
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut replies = encoder.encode_descriptor(
            "local_replies",
            "Requests that the proxy itself answered with an error, by reason",
            None,
            MetricType::Counter,
        )?;
        for (index, reason) in Reason::LABELS.iter().enumerate() {
            let sum =
                self.counters.iter().filter_map(|it| it.by_reason.0.get(index)).map(Count::get).sum::<u64>();
            ConstCounter::new(sum).encode(replies.encode_family(&[("reason", *reason)])?)?;
        }
        let active: u64 = self.counters.iter().map(Counters::active).sum();
        let gauge =
            encoder.encode_descriptor("requests_active", "Requests under way", None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(active).unwrap_or(i64::MAX)).encode(gauge)?;
        let plain: [(&str, &str, Choose); 7] = [
            ("client_connections", "Client connections accepted", |it| &it.connections),
            ("client_connections_refused", "Client connections that never carried a request", |it| {
                &it.connections_refused
            }),
            ("upstream_connects", "Connections made to endpoints", |it| &it.upstream_connects),
            ("upstream_connect_failures", "Connections to endpoints that failed", |it| {
                &it.upstream_connect_failures
            }),
            ("retries", "Tries beyond the first", |it| &it.retries),
            ("mirrored", "Requests copied to a mirror", |it| &it.mirrored),
            ("mirrors_dropped", "Requests that should have been copied and were not", |it| {
                &it.mirrors_dropped
            }),
        ];
        for (name, help, of) in plain {
            let counter = ConstCounter::new(self.counters.sum(of));
            let metric = encoder.encode_descriptor(name, help, None, ConstCounter::<u64>::TYPE)?;
            counter.encode(metric)?;
        }
        streams::encode(&self.counters, &mut encoder)?;
        self.telemetry.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_runtime::workers::WorkerId;
    use std::num::NonZeroUsize;

    #[test]
    fn a_scrape_adds_up_the_workers() {
        let mut settings = ProxySettings::new(ObjectName::new("shop", "gateway"));
        settings.workers = NonZeroUsize::new(2).unwrap();
        let metrics = Metrics::new(&settings);
        let of = |worker| metrics.counters.get(WorkerId(worker)).unwrap().clone();
        of(0).begin();
        of(0).end(None);
        of(1).begin();
        of(1).end(Some(Reason::NoRoute));
        of(1).begin();
        of(0).retries.increment();
        of(1).retries.add(2);
        // As the program has it.
        let mut registry = Registry::with_prefix("fairway");
        registry.register_collector(Box::new(metrics));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "fairway_local_replies_total{reason=\"no_route\"} 1",
            "fairway_requests_active 1",
            "fairway_retries_total 3",
            "fairway_series 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
    }
}
