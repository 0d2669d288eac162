//! Counters of connections. Labels are few and known when the program starts: never a name of a pod.

use super::Door;
use super::account::Outcome;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabel {
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

/// The counters. Looked up when the program starts, so that counting takes no lock.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<HashMap<Door, Doorway>>);

struct Doorway {
    open: Gauge,
    opened: Counter,
    sent: Counter,
    received: Counter,
    outcomes: HashMap<Outcome, Counter>,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("ztunnel");
        let (open, opened) = (Family::<DoorLabel, Gauge>::default(), Family::<DoorLabel, Counter>::default());
        let (sent, received) =
            (Family::<DoorLabel, Counter>::default(), Family::<DoorLabel, Counter>::default());
        let closed = Family::<ClosedLabels, Counter>::default();
        registry.register("connections_open", "Connections and tunnels open now", open.clone());
        registry.register("connections_opened", "Connections and tunnels accepted", opened.clone());
        registry.register("connections_closed", "Connections and tunnels ended, by how", closed.clone());
        registry.register("sent_bytes", "Bytes from clients to servers", sent.clone());
        registry.register("received_bytes", "Bytes from servers to clients", received.clone());
        let doors = [Door::Outbound, Door::Hbone, Door::Plaintext].map(|door| {
            let direction = DirectionLabel::from(door);
            let label = DoorLabel { direction };
            let outcomes = Outcome::ALL.map(|outcome| {
                let labels = ClosedLabels { direction, outcome: outcome.into() };
                (outcome, closed.get_or_create_owned(&labels))
            });
            let doorway = Doorway {
                open: open.get_or_create_owned(&label),
                opened: opened.get_or_create_owned(&label),
                sent: sent.get_or_create_owned(&label),
                received: received.get_or_create_owned(&label),
                outcomes: outcomes.into(),
            };
            (door, doorway)
        });
        Self(Arc::new(doors.into()))
    }

    pub(super) fn opened(&self, door: Door) {
        if let Some(doorway) = self.0.get(&door) {
            doorway.open.inc();
            doorway.opened.inc();
        }
    }

    pub(super) fn closed(&self, door: Door, outcome: Outcome, sent: u64, received: u64) {
        if let Some(doorway) = self.0.get(&door) {
            doorway.open.dec();
            doorway.sent.inc_by(sent);
            doorway.received.inc_by(received);
            if let Some(counter) = doorway.outcomes.get(&outcome) {
                counter.inc();
            }
        }
    }
}

impl From<Door> for DirectionLabel {
    fn from(door: Door) -> Self {
        match door {
            Door::Outbound => Self::outbound,
            Door::Hbone => Self::inbound,
            Door::Plaintext => Self::plaintext,
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
