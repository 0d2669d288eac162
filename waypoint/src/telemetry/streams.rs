//! Byte streams and datagram sessions: counters of the proxy as a whole, and a record of each.

use super::metrics::Counters;
use super::{BytesRefusal, Observed, Telemetry, describe_bytes_refusal, outcome};
use crate::l4::{Carried, Decision, L4Refusal, Moved, Undecided};
use crate::table::BoundListener;
use fairway_balance::EndpointRecord;
use fairway_config::model::{Generation, ServiceKey, SpiffeId};
use fairway_telemetry::{ClientAddress, Count, Direction, PerWorker, Record, describe_denial};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// A TCP connection whose bytes are relayed.
    Tcp,
    /// A TLS connection of which nothing else is known.
    Tls,
    /// A TLS connection that goes on as it is.
    Passthrough,
    /// A TLS connection that ends here.
    Terminated,
    /// A client's datagrams, until a time without any.
    Udp,
}

/// One worker's counters of streams.
#[derive(Debug, Default)]
pub struct StreamCounters {
    begun: [Count; StreamKind::LABELS.len()],
    ended: [Count; StreamKind::LABELS.len()],
    refused: [Count; L4Refusal::ALL.len()],
    cut_off: Count,
    received_bytes: Count,
    sent_bytes: Count,
    datagrams_received: Count,
    datagrams_sent: Count,
    /// Datagrams that were not sent on because a queue of the kernel was full.
    pub datagrams_lost: Count,
}

/// A stream from its decision to its end: recorded when it is dropped, whatever became of it.
#[derive(Debug)]
pub struct StreamRecord {
    telemetry: Rc<Telemetry>,
    kind: StreamKind,
    record: Record,
    refusal: Option<L4Refusal>,
    moved: Moved,
}

// === impl StreamKind ===

impl StreamKind {
    const LABELS: [&'static str; 5] = ["tcp", "tls", "tls_passthrough", "tls_terminated", "udp"];

    fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Passthrough => "tls_passthrough",
            Self::Terminated => "tls_terminated",
            Self::Udp => "udp",
        }
    }

    fn index(self) -> usize {
        Self::LABELS.iter().position(|it| *it == self.label()).unwrap_or_default()
    }
}

// === impl StreamCounters ===

impl StreamCounters {
    /// Bytes came from a client.
    pub fn received(&self, bytes: usize) {
        self.received_bytes.add(bytes as u64);
    }

    /// Bytes went to a client.
    pub fn sent(&self, bytes: usize) {
        self.sent_bytes.add(bytes as u64);
    }

    /// A datagram came from a client.
    pub fn datagram_received(&self, bytes: usize) {
        self.datagrams_received.increment();
        self.received(bytes);
    }

    /// A datagram went to a client.
    pub fn datagram_sent(&self, bytes: usize) {
        self.datagrams_sent.increment();
        self.sent(bytes);
    }

    /// A connection is closed, or a datagram dropped.
    pub fn refuse(&self, refusal: L4Refusal) {
        if let Some(counter) = self.refused.get(refusal.index()) {
            counter.increment();
        }
    }

    /// Streams that have begun and not ended; never below 0, whichever is read first.
    pub fn active(&self) -> u64 {
        let sum = |all: &[Count]| all.iter().map(Count::get).sum::<u64>();
        sum(&self.begun).saturating_sub(sum(&self.ended))
    }
}

// === impl StreamRecord ===

impl StreamRecord {
    /// Counts a stream as begun; it has ended when this is dropped.
    pub fn begin(telemetry: &Rc<Telemetry>, kind: StreamKind, client: Option<IpAddr>) -> Self {
        if let Some(counter) = telemetry.counters.streams.begun.get(kind.index()) {
            counter.increment();
        }
        let mut record = Record::connection(&telemetry.recorder, Direction::Listener);
        record.note(|it| {
            it.protocol = Some(kind.label());
            it.client = client.map(ClientAddress::Ip);
        });
        Self { telemetry: telemetry.clone(), kind, record, refusal: None, moved: Moved::default() }
    }

    /// By a peer that is not the client.
    pub fn comes_through(&mut self, peer: IpAddr) {
        self.record.note(|it| it.peer = Some(peer));
    }

    /// For a listener, from a configuration, with a name if it is TLS.
    pub fn asked(&mut self, listener: &BoundListener, generation: Generation, name: Option<&Arc<str>>) {
        self.record.note(|it| {
            it.listener = Some(listener.listener.key.clone());
            it.generation = generation;
            it.sni = name.cloned();
        });
    }

    /// To a port of a Service, at a waypoint.
    pub fn asked_of(&mut self, service: &ServiceKey, port: u16, generation: Generation) {
        self.record.note(|it| {
            it.service = Some(format!("{service}:{port}").into());
            it.generation = generation;
        });
    }

    /// Who the client proved to be.
    pub fn comes_from(&mut self, identity: Option<&SpiffeId>) {
        self.record.note(|it| it.client_identity = identity.cloned());
    }

    /// Policies let it go where it is decided to go, or not. What is only observed is logged, too.
    pub(crate) fn judged(
        &mut self,
        decision: Decision,
        judged: Result<Observed, BytesRefusal>,
    ) -> Result<Decision, Undecided> {
        match judged {
            Ok(None) => Ok(decision),
            Ok(Some(it)) => {
                self.observed(&it);
                Ok(decision)
            }
            Err(it) => {
                self.record.note(|details| {
                    details.detail = Some(describe_bytes_refusal(&it));
                });
                Err(Undecided { refusal: L4Refusal::Denied, series: decision.series })
            }
        }
    }

    /// A policy that is only observed would not let it pass.
    pub fn observed(&mut self, refusal: &fairway_policy::PolicyRefusal) {
        self.record.note(|it| {
            it.detail = Some(format!("would be denied by {}", describe_denial(refusal)));
            it.is_observed = true;
        });
    }

    /// It is known where it goes.
    pub fn decided(&mut self, decision: &Decision) {
        if let Some(series) = &decision.series {
            self.record.between(series);
        }
    }

    /// It is known where it goes, or that it goes nowhere, which ends it.
    pub fn decided_or_refused(&mut self, decided: Result<Decision, Undecided>) -> Option<Decision> {
        match decided {
            Ok(decision) => {
                self.decided(&decision);
                Some(decision)
            }
            Err(Undecided { refusal, series }) => {
                if let Some(series) = series {
                    self.record.between(&series);
                }
                self.refuse(refusal);
                None
            }
        }
    }

    /// It has its endpoint.
    pub fn reached(&mut self, endpoint: &EndpointRecord) {
        self.record.note(|it| {
            it.endpoint = Some(endpoint.address());
            it.endpoint_identity = endpoint.identity().cloned();
        });
    }

    /// Notes why it goes nowhere, for metrics and the log.
    pub fn refuse(&mut self, refusal: L4Refusal) {
        self.refusal = Some(refusal);
        self.record.refused(outcome::of_refusal(refusal), refusal.label());
    }

    /// Notes how it ended; those that were cut off are counted.
    pub fn ended(&mut self, carried: Carried) {
        self.record.ended(outcome::of_carried(carried));
        if carried == Carried::CutOff {
            self.telemetry.counters.streams.cut_off.increment();
        }
    }

    /// The bytes carried so far, which whoever relays them adds to.
    pub fn moved(&self) -> &Moved {
        &self.moved
    }
}

impl Drop for StreamRecord {
    fn drop(&mut self) {
        let counters = &self.telemetry.counters.streams;
        if let Some(counter) = counters.ended.get(self.kind.index()) {
            counter.increment();
        }
        if let Some(refusal) = self.refusal {
            counters.refuse(refusal);
        }
        self.record.set_received(self.moved.received.get());
        self.record.set_sent(self.moved.sent.get());
    }
}

/// Writes the sums of all workers.
pub(super) fn encode(workers: &PerWorker<Counters>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    type Place = fn(&StreamCounters, usize) -> Option<&Count>;
    let sum = |of: Place, index| -> u64 {
        workers.iter().filter_map(|it| of(&it.streams, index)).map(Count::get).sum()
    };
    let reasons = L4Refusal::ALL.map(L4Refusal::label);
    let families: [(&str, &str, &str, &[&str], Place); 2] = [
        (
            "streams",
            "Byte streams and datagram sessions begun",
            "protocol",
            &StreamKind::LABELS,
            |it, index| it.begun.get(index),
        ),
        (
            "streams_refused",
            "Connections closed and datagrams dropped instead of being carried",
            "reason",
            &reasons,
            |it, index| it.refused.get(index),
        ),
    ];
    for (name, help, label, values, of) in families {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (index, value) in values.iter().enumerate() {
            ConstCounter::new(sum(of, index)).encode(metric.encode_family(&[(label, *value)])?)?;
        }
    }
    let plain: [(&str, &str, Place); 6] = [
        ("streams_cut_off", "Streams that the end of the proxy cut off", |it, _| Some(&it.cut_off)),
        ("stream_received_bytes", "Bytes of streams and datagrams that came from clients", |it, _| {
            Some(&it.received_bytes)
        }),
        ("stream_sent_bytes", "Bytes of streams and datagrams that went to clients", |it, _| {
            Some(&it.sent_bytes)
        }),
        ("datagrams_received", "Datagrams that came from clients", |it, _| Some(&it.datagrams_received)),
        ("datagrams_sent", "Datagrams that went to clients", |it, _| Some(&it.datagrams_sent)),
        ("datagrams_lost", "Datagrams that a full queue of the kernel did not take", |it, _| {
            Some(&it.datagrams_lost)
        }),
    ];
    for (name, help, of) in plain {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(sum(of, 0)).encode(metric)?;
    }
    let active: u64 = workers.iter().map(|it| it.streams.active()).sum();
    let gauge = encoder.encode_descriptor(
        "streams_active",
        "Byte streams and datagram sessions under way",
        None,
        MetricType::Gauge,
    )?;
    ConstGauge::new(i64::try_from(active).unwrap_or(i64::MAX)).encode(gauge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_runtime::logs::{self, Format};
    use fairway_runtime::workers::WorkerId;
    use fairway_telemetry::{AccessLog, DEFAULT_SERIES};
    use std::num::NonZeroUsize;

    fn logged(log: AccessLog, stream: impl FnOnce(&Rc<Telemetry>)) -> Vec<String> {
        let own = "spiffe://cluster.local/ns/shop/sa/waypoint".parse().unwrap();
        let shared = fairway_telemetry::Telemetry::new(NonZeroUsize::MIN, DEFAULT_SERIES);
        let recorder = shared.recorder(WorkerId(0), log, Some(own)).unwrap();
        let counters = PerWorker::<Counters>::new(NonZeroUsize::MIN).get(WorkerId(0)).unwrap().clone();
        let telemetry = Rc::new(Telemetry { counters, recorder });
        logs::logged(Format::Text, || stream(&telemetry))
    }

    fn good(telemetry: &Rc<Telemetry>) {
        let mut record = StreamRecord::begin(telemetry, StreamKind::Tcp, Some([192, 0, 2, 1].into()));
        record.asked_of(&"shop/db".into(), 5432, Generation(3));
        record.comes_from(Some(&"spiffe://cluster.local/ns/shop/sa/web".parse().unwrap()));
        record.reached(&EndpointRecord::new(([10, 0, 0, 1], 5432).into(), None));
        record.moved().received.set(7);
        record.ended(Carried::Whole);
        record.record.note(|it| it.connection_id = None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_names_the_client_and_the_proxy_before_it() {
        let lines = logged(AccessLog::OneIn(1), |telemetry| {
            let mut record = StreamRecord::begin(telemetry, StreamKind::Tcp, Some([203, 0, 113, 7].into()));
            record.comes_through([10, 0, 0, 1].into());
            record.ended(Carried::Whole);
        });
        assert!(lines[0].contains("client=203.0.113.7 peer=10.0.0.1 "), "{lines:?}");
    }

    fn refused(telemetry: &Rc<Telemetry>) {
        let mut record = StreamRecord::begin(telemetry, StreamKind::Tls, None);
        record.record.note(|it| it.connection_id = None);
        record.refuse(L4Refusal::NoListener);
    }

    #[tokio::test(start_paused = true)]
    async fn each_stream_has_a_line_that_tells_how_it_ended() {
        let both = |telemetry: &Rc<Telemetry>| {
            good(telemetry);
            refused(telemetry);
        };
        let of_refused = "INFO fairway::access: direction=\"listener\" protocol=\"tls\" outcome=\"refused\" \
             reason=\"no_listener\" server_identity=\"spiffe://cluster.local/ns/shop/sa/waypoint\" received_bytes=0 \
             sent_bytes=0 duration_seconds=0.0 generation=0";
        assert_eq!(
            logged(AccessLog::OneIn(1), both),
            [
                "INFO fairway::access: direction=\"listener\" protocol=\"tcp\" outcome=\"completed\" \
                 service=\"shop/db:5432\" client=192.0.2.1 client_identity=\"spiffe://cluster.local/ns/shop/sa/web\" \
                 server_identity=\"spiffe://cluster.local/ns/shop/sa/waypoint\" endpoint=10.0.0.1:5432 received_bytes=7 \
                 sent_bytes=0 duration_seconds=0.0 generation=3",
                of_refused,
            ]
        );
        assert_eq!(logged(AccessLog::Errors, both), [of_refused]);
        assert_eq!(logged(AccessLog::Off, both), [""; 0]);
    }

    #[test]
    fn every_refusal_has_a_place_and_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = L4Refusal::ALL.map(L4Refusal::label).into_iter().collect();
        assert_eq!(words.len(), L4Refusal::ALL.len());
        for (index, refusal) in L4Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal.index(), index);
        }
    }
}
