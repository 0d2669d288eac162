//! The telemetry of a program: its series, and what a scrape shows of them.

use crate::access_log::AccessLog;
use crate::labels::{
    ConnectionLabels, Direction, Family, LimitLabels, OTHER, PlaintextLabels, PolicyLabels, RequestLabels,
};
use crate::record::Recorder;
use crate::series::{Budget, Reading, Series, SeriesTable, Sum};
use fairway_identity::SpiffeId;
use fairway_runtime::workers::WorkerId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many series a proxy or tunnel keeps apart, if nothing else is said.
pub const DEFAULT_SERIES: usize = 2_000;

/// The telemetry of a proxy or tunnel. Clones share it. Register it with
/// [`Registry::register_collector`](prometheus_client::registry::Registry::register_collector).
#[derive(Clone, Debug)]
pub struct Telemetry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    workers: Box<[AtomicBool]>,
    budget: Arc<Budget>,
    requests: SeriesTable<RequestLabels>,
    connections: SeriesTable<ConnectionLabels>,
    plaintext: SeriesTable<PlaintextLabels>,
    policies: SeriesTable<PolicyLabels>,
    limits: SeriesTable<LimitLabels>,
    /// Requests that no rule took.
    unmatched: Series<RequestLabels>,
    /// Connections of which nothing is known, by direction.
    unknown: [Series<ConnectionLabels>; 4],
}

type Labels = Vec<(&'static str, String)>;

// === impl Telemetry ===

impl Telemetry {
    /// For this many workers, with at most `series` series.
    pub fn new(workers: NonZeroUsize, series: usize) -> Self {
        let budget = Budget::new(series);
        let requests = SeriesTable::new(workers, budget.clone());
        let connections = SeriesTable::new(workers, budget.clone());
        let plaintext = SeriesTable::new(workers, budget.clone());
        let policies = SeriesTable::new(workers, budget.clone());
        let limits = SeriesTable::new(workers, budget.clone());
        let directions = [Direction::Outbound, Direction::Inbound, Direction::Plaintext, Direction::Listener];
        let unmatched = requests.pinned(RequestLabels::default());
        let unknown = directions.map(|it| connections.pinned(ConnectionLabels::new(it)));
        let workers = (0..workers.get()).map(|_| AtomicBool::new(false)).collect();
        Self(Arc::new(Shared {
            workers,
            budget,
            requests,
            connections,
            plaintext,
            policies,
            limits,
            unmatched,
            unknown,
        }))
    }

    /// What a worker records with. Each worker can take its own once, on its own thread; none if it has been taken, or if
    /// there is no such worker.
    pub fn recorder(
        &self,
        worker: WorkerId,
        log: AccessLog,
        server_identity: Option<SpiffeId>,
    ) -> Option<Rc<Recorder>> {
        let is_taken = self.0.workers.get(worker.0)?.swap(true, Ordering::Relaxed);
        (!is_taken).then(|| Rc::new(Recorder::new(self.clone(), worker, log, server_identity)))
    }

    /// Requests, by what they were matched to.
    pub fn requests(&self) -> &SeriesTable<RequestLabels> {
        &self.0.requests
    }

    /// Connections, by who talks to whom.
    pub fn connections(&self) -> &SeriesTable<ConnectionLabels> {
        &self.0.connections
    }

    /// Connections past the mesh's mTLS, by namespace.
    pub fn plaintext(&self) -> &SeriesTable<PlaintextLabels> {
        &self.0.plaintext
    }

    /// What policies refuse, by policy and rule.
    pub fn policies(&self) -> &SeriesTable<PolicyLabels> {
        &self.0.policies
    }

    /// What limits refuse, by policy and limit.
    pub fn limits(&self) -> &SeriesTable<LimitLabels> {
        &self.0.limits
    }

    pub(crate) fn unmatched(&self) -> &Series<RequestLabels> {
        &self.0.unmatched
    }

    pub(crate) fn unknown(&self, direction: Direction) -> &Series<ConnectionLabels> {
        let [outbound, inbound, plaintext, listener] = &self.0.unknown;
        match direction {
            Direction::Outbound => outbound,
            Direction::Inbound => inbound,
            Direction::Plaintext => plaintext,
            Direction::Listener => listener,
        }
    }
}

impl Default for Telemetry {
    /// For one worker, with [`DEFAULT_SERIES`].
    fn default() -> Self {
        Self::new(NonZeroUsize::MIN, DEFAULT_SERIES)
    }
}

impl Collector for Telemetry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shared = &*self.0;
        let denied = encode_family(&shared.requests, &mut encoder)?
            + encode_family(&shared.connections, &mut encoder)?
            + encode_family(&shared.plaintext, &mut encoder)?
            + encode_family(&shared.policies, &mut encoder)?
            + encode_family(&shared.limits, &mut encoder)?;
        for (name, help, value) in [
            ("series", "Series in use, of those that the budget allows", shared.budget.used()),
            ("series_limit", "Series that the budget allows", shared.budget.limit()),
            ("series_over_budget", "Series that are counted as `other`, as the budget is used up", denied),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)?;
        }
        Ok(())
    }
}

/// Writes the families of one table; nothing if no series of it was used. Returns how many are beyond the budget.
fn encode_family<L: Family>(
    table: &SeriesTable<L>,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<usize, fmt::Error> {
    let Reading { series, denied } = table.read();
    let series: Vec<(Labels, Sum)> =
        series.into_iter().map(|(labels, sum)| (named(labels.as_ref()), sum)).collect();
    if series.is_empty() {
        return Ok(denied);
    }
    let mut metric = encoder.encode_descriptor(L::NAME, L::HELP, None, MetricType::Counter)?;
    for (labels, sum) in &series {
        for (result, count) in L::RESULTS.iter().zip(sum.results) {
            // A family without a histogram has few series, and shows each of its results from the start.
            if count > 0 || L::MEASURED.is_none() {
                let mut labels = labels.clone();
                labels.push((L::RESULT, (*result).to_owned()));
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
    }
    let Some(singular) = L::MEASURED else { return Ok(denied) };
    let name = format!("{singular}_duration_seconds");
    let help = "From the first byte of the head to the last byte";
    let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Histogram)?;
    for (labels, sum) in &series {
        let durations = &sum.durations;
        let (seconds, count, buckets) = (durations.seconds(), durations.count(), durations.buckets());
        metric.encode_family(labels)?.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)?;
    }
    type Bytes = fn(&Sum) -> u64;
    let bytes: [(&str, &str, Bytes); 2] = [
        ("received_bytes", "Bytes that came from clients", |it| it.received),
        ("sent_bytes", "Bytes that went to clients", |it| it.sent),
    ];
    for (name, help, of) in bytes {
        let name = format!("{singular}_{name}");
        let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (labels, sum) in &series {
            ConstCounter::new(of(sum)).encode(metric.encode_family(labels)?)?;
        }
    }
    Ok(denied)
}

fn named<L: Family>(labels: Option<&L>) -> Labels {
    let values: Vec<String> = match labels {
        Some(labels) => labels.values().into_iter().map(|it| it.into_owned()).collect(),
        None => vec![OTHER.to_owned(); L::LABELS.len()],
    };
    L::LABELS.iter().copied().zip(values).collect()
}
