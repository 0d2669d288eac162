//! What a worker counts of its connections: those that are open by direction, and who talks to whom.

use super::Direction;
use fairway_config::model::BackendKey;
use fairway_identity::SpiffeId;
use fairway_telemetry::{ConnectionLabels, Count, PerWorker, Series, Telemetry};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

/// One worker's connections, by direction.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    opened: [Count; 3],
    closed: [Count; 3],
}

/// What all workers count, for a registry.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) counters: PerWorker<Counters>,
    pub(crate) telemetry: Telemetry,
}

/// The series of one pod on one worker: what its connections with each peer count into. They go with the pod.
#[derive(Default)]
pub(super) struct PodSeries(RefCell<HashMap<Between, Series<ConnectionLabels>, ahash::RandomState>>);

/// The pod's end of a connection is always the pod, so it is not part of the key.
#[derive(PartialEq, Eq, Hash)]
struct Between {
    direction: Direction,
    backend: Option<BackendKey>,
    peer: Option<SpiffeId>,
}

const DIRECTIONS: [Direction; 3] = [Direction::Outbound, Direction::Inbound, Direction::Plaintext];

// === impl Counters ===

impl Counters {
    pub(super) fn opened(&self, direction: Direction) {
        if let Some(count) = self.opened.get(direction as usize) {
            count.increment();
        }
    }

    pub(super) fn closed(&self, direction: Direction) {
        if let Some(count) = self.closed.get(direction as usize) {
            count.increment();
        }
    }
}

// === impl Metrics ===

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sums = DIRECTIONS.map(|direction| {
            let index = direction as usize;
            let sum = |of: fn(&Counters) -> &[Count; 3]| {
                self.counters.iter().filter_map(|it| of(it).get(index)).map(Count::get).sum::<u64>()
            };
            // Read first: what is closed was opened before.
            let closed = sum(|it| &it.closed);
            (direction, sum(|it| &it.opened), closed)
        });
        let help = "Connections and tunnels accepted";
        let mut metric = encoder.encode_descriptor("connections_opened", help, None, MetricType::Counter)?;
        for (direction, opened, _) in sums {
            ConstCounter::new(opened).encode(metric.encode_family(&[("direction", direction.label())])?)?;
        }
        let help = "Connections and tunnels open now";
        let mut metric = encoder.encode_descriptor("connections_active", help, None, MetricType::Gauge)?;
        for (direction, opened, closed) in sums {
            let active = i64::try_from(opened.saturating_sub(closed)).unwrap_or(i64::MAX);
            ConstGauge::new(active).encode(metric.encode_family(&[("direction", direction.label())])?)?;
        }
        self.telemetry.encode(encoder)
    }
}

// === impl PodSeries ===

impl PodSeries {
    /// The series of a connection. Resolves its labels the first time.
    pub(super) fn resolve(
        &self,
        telemetry: &Telemetry,
        direction: Direction,
        backend: &Option<BackendKey>,
        client: Option<&SpiffeId>,
        server: Option<&SpiffeId>,
    ) -> Series<ConnectionLabels> {
        let peer = if direction == Direction::Outbound { server } else { client };
        let between = Between { direction, backend: backend.clone(), peer: peer.cloned() };
        let mut all = self.0.borrow_mut();
        if let Some(series) = all.get(&between) {
            return series.clone();
        }
        let series = telemetry.connections().series(ConnectionLabels {
            direction: direction.into(),
            route: None,
            backend: backend.clone(),
            client: client.cloned(),
            server: server.cloned(),
        });
        all.insert(between, series.clone());
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_runtime::workers::WorkerId;
    use fairway_telemetry::testing::Exposition;
    use fairway_telemetry::{
        AccessLog, DEFAULT_SERIES, Outcome, Plaintext, PlaintextLabels, Record, Recorder, testing,
    };
    use prometheus_client::registry::Registry;
    use std::collections::BTreeSet;
    use std::num::NonZeroUsize;
    use std::path::Path;
    use std::rc::Rc;

    fn scrape(metrics: &Metrics) -> Exposition {
        let mut registry = Registry::with_prefix("fairway");
        registry.register_collector(Box::new(metrics.clone()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        Exposition::parse(&text)
    }

    fn id(account: &str) -> SpiffeId {
        format!("spiffe://cluster.local/ns/shop/sa/{account}").parse().unwrap()
    }

    fn metrics() -> Metrics {
        let counters = PerWorker::new(NonZeroUsize::MIN);
        Metrics { counters, telemetry: Telemetry::new(NonZeroUsize::MIN, DEFAULT_SERIES) }
    }

    /// Some connections of a pod, and their series.
    fn traffic(metrics: &Metrics) -> (Rc<Recorder>, PodSeries) {
        let recorder = metrics.telemetry.recorder(WorkerId(0), AccessLog::Off, None).unwrap();
        let counters = metrics.counters.get(WorkerId(0)).unwrap();
        let (pod, series) = (id("web"), PodSeries::default());
        let carried = |direction: Direction, backend: Option<&str>, peer: Option<SpiffeId>, outcome| {
            counters.opened(direction);
            let (client, server) = match direction {
                Direction::Outbound => (Some(&pod), peer.as_ref()),
                Direction::Inbound | Direction::Plaintext => (peer.as_ref(), Some(&pod)),
            };
            let mut record = Record::connection(&recorder, direction.into());
            let backend = backend.map(Into::into);
            record.between(&series.resolve(&metrics.telemetry, direction, &backend, client, server));
            record.ended(outcome);
        };
        carried(Direction::Outbound, Some("shop/db:5432"), Some(id("db")), Outcome::Completed);
        carried(Direction::Outbound, Some("shop/db:5432"), Some(id("db")), Outcome::ServerAborted);
        carried(Direction::Outbound, None, None, Outcome::Unreachable);
        carried(Direction::Inbound, None, Some(id("front")), Outcome::Refused);
        carried(Direction::Plaintext, None, None, Outcome::Completed);
        counters.closed(Direction::Outbound);
        (recorder, series)
    }

    #[test]
    fn connections_are_counted_by_who_talks_to_whom_and_go_with_the_pod() {
        let metrics = metrics();
        let (_recorder, series) = traffic(&metrics);
        let total = "fairway_connections_total";
        let scraped = scrape(&metrics);
        let (web, db) = (id("web").to_string(), id("db").to_string());
        let to_db =
            [("client_identity", web.as_str()), ("server_identity", db.as_str()), ("backend", "shop/db")];
        assert_eq!(scraped.sum(total, &to_db), 2.0);
        assert_eq!(scraped.sum(total, &[("outcome", "server_aborted")]), 1.0);
        assert_eq!(scraped.sum(total, &[("server_identity", web.as_str())]), 2.0, "inbound and plaintext");
        assert_eq!(scraped.sum(total, &[]), 5.0);
        assert_eq!(scraped.sum("fairway_connections_active", &[("direction", "outbound")]), 2.0);
        assert_eq!(scraped.sum("fairway_series", &[]), 4.0);
        drop(series);
        assert_eq!(scrape(&metrics).samples(total, &[]).count(), 0);
        assert_eq!(scrape(&metrics).sum("fairway_series", &[]), 0.0);
    }

    #[test]
    fn the_queries_of_the_documentation_can_be_answered() {
        let page = include_str!("../../../docs/observability.md");
        let metrics = metrics();
        let (recorder, _series) = traffic(&metrics);
        let shop = metrics.telemetry.plaintext().series(PlaintextLabels { namespace: "shop".into() });
        recorder.count_plaintext(&shop, Plaintext::LetIn);
        let scraped = scrape(&metrics);
        for query in testing::queries(page, "### Queries about connections") {
            testing::check(&query, &scraped).unwrap_or_else(|why| panic!("{query}: {why}"));
        }
        for name in scraped.names() {
            let name = name.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
            assert!(page.contains(&format!("`{name}")), "{name} is not documented");
        }
    }

    /// The words in the sources: of functions called `reason`, and beside an outcome.
    fn reasons() -> BTreeSet<String> {
        fn quoted(text: &str) -> impl Iterator<Item = String> {
            text.split('"').skip(1).step_by(2).map(str::to_owned)
        }
        fn walk(directory: &Path, found: &mut BTreeSet<String>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                for function in text.split("fn reason(&self)").skip(1) {
                    found.extend(quoted(function.split("\n    }\n").next().unwrap()));
                }
                for refused in text.split(".refused(Outcome::").skip(1) {
                    let (_, reason) = refused.split_once(", ").unwrap();
                    found.extend(reason.starts_with('"').then(|| quoted(reason).next().unwrap()));
                }
            }
        }
        let mut found = BTreeSet::new();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        ["decide", "proxy"].iter().for_each(|it| walk(&source.join(it), &mut found));
        found
    }

    #[test]
    fn every_reason_has_a_row_in_the_documentation_and_every_row_is_a_reason() {
        let page = include_str!("../../../docs/observability.md");
        let (_, section) = page.split_once("\n### Reasons at tunnels\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let words = section.lines().filter_map(|it| it.strip_prefix("| `")?.split('`').next());
        assert_eq!(words.map(str::to_owned).collect::<BTreeSet<_>>(), reasons());
    }
}
