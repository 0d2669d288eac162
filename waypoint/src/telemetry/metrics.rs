//! Counters of requests. Each worker writes its own, so that none waits for another; a scrape adds them up.

use super::streams::{self, StreamCounters};
use crate::pipeline::Reason;
use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// One worker's counters. Written by one thread only, so an increment is a load and a store.
#[derive(Debug, Default)]
pub struct Counters {
    begun: AtomicU64,
    ended: AtomicU64,
    by_class: [AtomicU64; CLASSES.len()],
    by_reason: [AtomicU64; Reason::LABELS.len()],
    durations: [AtomicU64; BOUNDS.len() + 1],
    duration_us: AtomicU64,
    /// Client connections accepted.
    pub connections: AtomicU64,
    /// Client connections that never became requests: failed handshakes, unknown protocols.
    pub connections_refused: AtomicU64,
    /// Connections made to endpoints.
    pub upstream_connects: AtomicU64,
    /// Connections to endpoints that could not be made.
    pub upstream_connect_failures: AtomicU64,
    /// Tries beyond the first.
    pub retries: AtomicU64,
    /// Mirrored requests.
    pub mirrored: AtomicU64,
    /// Requests that should have been mirrored, but the body was too long or too many mirrors were under way.
    pub mirrors_dropped: AtomicU64,
    /// Byte streams and datagrams.
    pub streams: StreamCounters,
}

/// The counters of all workers, for a registry.
#[derive(Clone, Debug)]
pub struct Metrics(pub Arc<[Arc<Counters>]>);

/// Picks a counter.
type Choose = fn(&Counters) -> &AtomicU64;

const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
/// Upper bounds of the duration buckets, in microseconds.
const BOUNDS: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 30_000_000];

/// Adds one. Only the thread that owns the counters may.
pub fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(super) fn add(counter: &AtomicU64, much: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(much), Relaxed);
}

// === impl Counters ===

impl Counters {
    pub(super) fn begin(&self) {
        count(&self.begun);
    }

    pub(super) fn end(&self, status: Option<StatusCode>, reason: Option<Reason>, total: Duration) {
        count(&self.ended);
        let class = status.map_or(CLASSES.len() - 1, |it| usize::from(it.as_u16() / 100).saturating_sub(1));
        if let Some(counter) = self.by_class.get(class) {
            count(counter);
        }
        if let Some(counter) = reason.and_then(|it| self.by_reason.get(it.index())) {
            count(counter);
        }
        let micros = u64::try_from(total.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        if let Some(counter) = self.durations.get(bucket) {
            count(counter);
        }
        add(&self.duration_us, micros);
    }

    /// Requests that were begun and not ended.
    pub fn active(&self) -> u64 {
        self.begun.load(Relaxed).saturating_sub(self.ended.load(Relaxed))
    }
}

// === impl Metrics ===

impl Metrics {
    fn sum(&self, of: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        self.0.iter().map(|it| of(it).load(Relaxed)).sum()
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = |name,
                          help,
                          label: &'static str,
                          names: &[&'static str],
                          at: &dyn Fn(&Counters, usize) -> u64| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (index, value) in names.iter().enumerate() {
                let sum = self.0.iter().map(|it| at(it, index)).sum::<u64>();
                ConstCounter::new(sum).encode(metric.encode_family(&[(label, *value)])?)?;
            }
            Ok::<(), fmt::Error>(())
        };
        let get = |list: &[AtomicU64], index: usize| list.get(index).map_or(0, |it| it.load(Relaxed));
        family("requests", "Requests by class of the response's status", "class", &CLASSES, &|it, index| {
            get(&it.by_class, index)
        })?;
        family(
            "own_answers",
            "Requests the proxy itself answered, by reason",
            "reason",
            &Reason::LABELS,
            &|it, index| get(&it.by_reason, index),
        )?;
        let active: u64 = self.0.iter().map(|it| it.active()).sum();
        let gauge =
            encoder.encode_descriptor("requests_active", "Requests under way", None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(active).unwrap_or(i64::MAX)).encode(gauge)?;

        let mut total = 0;
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(BOUNDS.len() + 1);
        for index in 0..=BOUNDS.len() {
            let here: u64 = self.0.iter().map(|it| get(&it.durations, index)).sum();
            total += here;
            buckets.push((BOUNDS.get(index).map_or(f64::INFINITY, |it| *it as f64 / 1e6), here));
        }
        let seconds = self.sum(|it| &it.duration_us) as f64 / 1e6;
        let mut histogram = encoder.encode_descriptor(
            "request_duration_seconds",
            "From a request's head to the end of its response",
            None,
            MetricType::Histogram,
        )?;
        histogram.encode_histogram::<NoLabelSet>(seconds, total, &buckets, None)?;

        let plain: [(&str, &str, Choose); 7] = [
            ("connections", "Client connections accepted", |it| &it.connections),
            ("connections_refused", "Client connections that never carried a request", |it| {
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
            let counter = ConstCounter::new(self.sum(of));
            let metric = encoder.encode_descriptor(name, help, None, ConstCounter::<u64>::TYPE)?;
            counter.encode(metric)?;
        }
        streams::encode(&self.0, &mut encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    #[test]
    fn a_scrape_adds_up_the_workers() {
        let workers: Arc<[Arc<Counters>]> = (0..2).map(|_| Arc::new(Counters::default())).collect();
        workers[0].begin();
        workers[0].end(Some(StatusCode::OK), None, Duration::from_millis(3));
        workers[1].begin();
        workers[1].end(Some(StatusCode::NOT_FOUND), Some(Reason::NoRoute), Duration::from_secs(60));
        workers[1].begin();
        // As the program has it.
        let mut registry = Registry::with_prefix("fairway");
        registry.register_collector(Box::new(Metrics(workers)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "fairway_requests_total{class=\"2xx\"} 1",
            "fairway_requests_total{class=\"4xx\"} 1",
            "fairway_own_answers_total{reason=\"no_route\"} 1",
            "fairway_requests_active 1",
            "fairway_request_duration_seconds_bucket{le=\"0.005\"} 1",
            "fairway_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "fairway_request_duration_seconds_count 2",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
