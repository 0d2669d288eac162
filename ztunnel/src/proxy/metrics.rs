//! Counters of connections. The label values are known when the program starts, except namespaces; no label names a pod.

use super::Direction;
use super::account::Outcome;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: DirectionLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClosedLabels {
    direction: DirectionLabel,
    outcome: OutcomeLabel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as they are written on the metrics page")]
enum DirectionLabel {
    outbound,
    inbound,
    plaintext,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as they are written on the metrics page")]
enum OutcomeLabel {
    closed,
    broken,
    refused,
    unreachable,
    no_identity,
    cut_off,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlaintextLabels {
    namespace: Arc<str>,
    kind: Plaintext,
}

/// A connection outside the mesh's mTLS, seen from a captured pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as they are written on the metrics page")]
pub(super) enum Plaintext {
    /// It came from outside the mesh, and was let in.
    let_in,
    /// It came from outside the mesh, and was refused: the pod is strict, or authorization says no.
    refused,
    /// Its node's kubelet probes: that is plaintext for ever, and no reason not to be strict.
    probe,
    /// The pod opened it, to somebody who has no tunnel.
    sent,
}

/// The plaintext counters of one namespace's pods, looked up when a pod is first served, so that counting takes no lock.
pub(super) struct PlaintextCounters(HashMap<Plaintext, Counter>);

/// The counters. Looked up when the program starts, so that counting takes no lock.
#[derive(Clone)]
pub(crate) struct Metrics {
    directions: Arc<HashMap<Direction, DirectionCounters>>,
    plaintext: Family<PlaintextLabels, Counter>,
}

struct DirectionCounters {
    open: Gauge,
    opened: Counter,
    sent: Counter,
    received: Counter,
    outcomes: HashMap<Outcome, Counter>,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("ztunnel");
        let (open, opened) =
            (Family::<DirectionLabels, Gauge>::default(), Family::<DirectionLabels, Counter>::default());
        let (sent, received) =
            (Family::<DirectionLabels, Counter>::default(), Family::<DirectionLabels, Counter>::default());
        let closed = Family::<ClosedLabels, Counter>::default();
        registry.register("connections_open", "Connections and tunnels open now", open.clone());
        registry.register("connections_opened", "Connections and tunnels accepted", opened.clone());
        registry.register("connections_closed", "Connections and tunnels ended, by how", closed.clone());
        registry.register("sent_bytes", "Bytes from clients to servers", sent.clone());
        registry.register("received_bytes", "Bytes from servers to clients", received.clone());
        let directions = [Direction::Outbound, Direction::Inbound, Direction::Plaintext].map(|direction| {
            let value = DirectionLabel::from(direction);
            let label = DirectionLabels { direction: value };
            let outcomes = Outcome::ALL.map(|outcome| {
                let labels = ClosedLabels { direction: value, outcome: outcome.into() };
                (outcome, closed.get_or_create_owned(&labels))
            });
            let counters = DirectionCounters {
                open: open.get_or_create_owned(&label),
                opened: opened.get_or_create_owned(&label),
                sent: sent.get_or_create_owned(&label),
                received: received.get_or_create_owned(&label),
                outcomes: outcomes.into(),
            };
            (direction, counters)
        });
        let plaintext = Family::<PlaintextLabels, Counter>::default();
        let help = "Connections outside the mesh's mTLS, by the namespace of the captured pod";
        registry.register("plaintext_connections", help, plaintext.clone());
        Self { directions: Arc::new(directions.into()), plaintext }
    }

    /// Those of a namespace. Namespaces of this node's pods are few; pods are not named.
    pub(super) fn plaintext_of(&self, namespace: &str) -> PlaintextCounters {
        let counter = |kind| {
            let labels = PlaintextLabels { namespace: namespace.into(), kind };
            (kind, self.plaintext.get_or_create_owned(&labels))
        };
        PlaintextCounters(Plaintext::ALL.map(counter).into())
    }

    pub(super) fn opened(&self, direction: Direction) {
        if let Some(counters) = self.directions.get(&direction) {
            counters.open.inc();
            counters.opened.inc();
        }
    }

    pub(super) fn closed(&self, direction: Direction, outcome: Outcome, sent: u64, received: u64) {
        if let Some(counters) = self.directions.get(&direction) {
            counters.open.dec();
            counters.sent.inc_by(sent);
            counters.received.inc_by(received);
            if let Some(counter) = counters.outcomes.get(&outcome) {
                counter.inc();
            }
        }
    }
}

impl Plaintext {
    const ALL: [Self; 4] = [Self::let_in, Self::refused, Self::probe, Self::sent];
}

impl PlaintextCounters {
    pub(super) fn count(&self, kind: Plaintext) {
        if let Some(counter) = self.0.get(&kind) {
            counter.inc();
        }
    }
}

impl From<Direction> for DirectionLabel {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Outbound => Self::outbound,
            Direction::Inbound => Self::inbound,
            Direction::Plaintext => Self::plaintext,
        }
    }
}

impl From<Outcome> for OutcomeLabel {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Closed => Self::closed,
            Outcome::Broken => Self::broken,
            Outcome::Refused => Self::refused,
            Outcome::Unreachable => Self::unreachable,
            Outcome::NoIdentity => Self::no_identity,
            Outcome::CutOff => Self::cut_off,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_is_counted_by_namespace_and_kind_only() {
        let mut registry = Registry::with_prefix("fairway");
        let metrics = Metrics::new(&mut registry);
        let (shop, other) = (metrics.plaintext_of("shop"), metrics.plaintext_of("other"));
        // Another pod of the same namespace counts into the same line.
        let again = metrics.plaintext_of("shop");
        shop.count(Plaintext::let_in);
        again.count(Plaintext::let_in);
        shop.count(Plaintext::probe);
        other.count(Plaintext::refused);
        other.count(Plaintext::sent);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for (namespace, kind, count) in [
            ("shop", "let_in", 2),
            ("shop", "probe", 1),
            ("shop", "refused", 0),
            ("other", "refused", 1),
            ("other", "sent", 1),
            ("other", "let_in", 0),
        ] {
            let line = format!(
                "fairway_ztunnel_plaintext_connections_total{{namespace=\"{namespace}\",kind=\"{kind}\"}} {count}"
            );
            assert!(text.lines().any(|it| it == line), "`{line}` is not in\n{text}");
        }
        let lines = text.lines().filter(|it| it.starts_with("fairway_ztunnel_plaintext")).count();
        assert_eq!(lines, 8, "two namespaces, four kinds");
    }
}
