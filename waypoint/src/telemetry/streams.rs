//! Byte streams and datagram sessions: counters, and one line in the access log for each.

use super::Telemetry;
use super::access::Sampled;
use super::metrics::{Counters, add, count};
use crate::stream::{Carried, Decision, Moved, Refusal};
use crate::table::BoundListener;
use fairway_balance::EndpointRecord;
use fairway_config::model::{Generation, ListenerKey, RouteKey, ServiceKey, SpiffeId};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::time::Instant;

/// What a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// A TCP connection.
    Tcp,
    /// A TLS connection of which nothing else is known.
    Tls,
    /// A TLS connection that goes on as it is.
    Passthrough,
    /// A TLS connection that ends here.
    Terminated,
    /// A client's datagrams.
    Udp,
}

/// One worker's counters of streams.
#[derive(Debug, Default)]
pub struct StreamCounters {
    begun: [AtomicU64; StreamKind::LABELS.len()],
    ended: [AtomicU64; StreamKind::LABELS.len()],
    refused: [AtomicU64; Refusal::ALL.len()],
    cut_off: AtomicU64,
    bytes: [AtomicU64; 2],
    datagrams: [AtomicU64; 2],
    /// Datagrams that were not sent on because a queue of the kernel was full.
    pub datagrams_lost: AtomicU64,
}

/// A stream from its decision to its end: counted when it is dropped, whatever became of it.
#[derive(Debug)]
pub struct StreamRecord {
    telemetry: Rc<Telemetry>,
    kind: StreamKind,
    started: Instant,
    refusal: Option<Refusal>,
    ended: &'static str,
    moved: Moved,
    entry: Option<Box<Entry>>,
}

/// What is remembered of a stream for its line.
#[derive(Debug)]
struct Entry {
    sampled: Sampled,
    client: Option<IpAddr>,
    client_identity: Option<SpiffeId>,
    name: Option<Arc<str>>,
    listener: Option<ListenerKey>,
    service: Option<Arc<str>>,
    route: Option<RouteKey>,
    endpoint: Option<(SocketAddr, Option<SpiffeId>)>,
    generation: Generation,
}

const DIRECTIONS: [&str; 2] = ["received", "sent"];

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
        add(&self.bytes[0], bytes as u64);
    }

    /// Bytes went to a client.
    pub fn sent(&self, bytes: usize) {
        add(&self.bytes[1], bytes as u64);
    }

    /// A datagram came from a client.
    pub fn datagram_received(&self, bytes: usize) {
        count(&self.datagrams[0]);
        self.received(bytes);
    }

    /// A datagram went to a client.
    pub fn datagram_sent(&self, bytes: usize) {
        count(&self.datagrams[1]);
        self.sent(bytes);
    }

    /// A connection is closed, or a datagram dropped.
    pub fn refuse(&self, refusal: Refusal) {
        if let Some(counter) = self.refused.get(refusal.index()) {
            count(counter);
        }
    }

    /// Streams under way.
    pub fn active(&self) -> u64 {
        let sum = |all: &[AtomicU64]| all.iter().map(|it| it.load(Relaxed)).sum::<u64>();
        sum(&self.begun).saturating_sub(sum(&self.ended))
    }
}

// === impl StreamRecord ===

impl StreamRecord {
    /// A stream begins.
    pub fn begin(telemetry: &Rc<Telemetry>, kind: StreamKind, client: Option<IpAddr>) -> Self {
        if let Some(counter) = telemetry.counters.streams.begun.get(kind.index()) {
            count(counter);
        }
        let entry = |sampled| Entry {
            sampled,
            client,
            client_identity: None,
            name: None,
            listener: None,
            service: None,
            route: None,
            endpoint: None,
            generation: Generation::default(),
        };
        Self {
            telemetry: telemetry.clone(),
            kind,
            started: Instant::now(),
            refusal: None,
            ended: Carried::CutOff.label(),
            moved: Moved::default(),
            entry: telemetry.samples().map(|sampled| Box::new(entry(sampled))),
        }
    }

    /// For a listener, from a configuration, with a name if it is TLS.
    pub fn asked(&mut self, listener: &BoundListener, generation: Generation, name: Option<&Arc<str>>) {
        if let Some(entry) = &mut self.entry {
            entry.listener = Some(listener.listener.key.clone());
            entry.generation = generation;
            entry.name = name.cloned();
        }
    }

    /// To a port of a Service, at a waypoint.
    pub fn asked_of(&mut self, service: &ServiceKey, port: u16, generation: Generation) {
        if let Some(entry) = &mut self.entry {
            entry.service = Some(format!("{service}:{port}").into());
            entry.generation = generation;
        }
    }

    /// Who the client proved to be.
    pub fn comes_from(&mut self, identity: Option<&SpiffeId>) {
        if let Some(entry) = &mut self.entry {
            entry.client_identity = identity.cloned();
        }
    }

    /// It is known where it goes.
    pub fn decided(&mut self, decision: &Decision) {
        if let Some(entry) = &mut self.entry {
            entry.route = Some(decision.route.clone());
        }
    }

    /// It has its endpoint.
    pub fn reached(&mut self, endpoint: &EndpointRecord) {
        if let Some(entry) = &mut self.entry {
            entry.endpoint = Some((endpoint.address(), endpoint.identity().cloned()));
        }
    }

    /// It goes nowhere.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
        self.ended = "refused";
    }

    /// It ends.
    pub fn ended(&mut self, carried: Carried) {
        self.ended = carried.label();
        if carried == Carried::CutOff {
            count(&self.telemetry.counters.streams.cut_off);
        }
    }

    /// Its bytes.
    pub fn moved(&self) -> &Moved {
        &self.moved
    }
}

impl Drop for StreamRecord {
    fn drop(&mut self) {
        let counters = &self.telemetry.counters.streams;
        if let Some(counter) = counters.ended.get(self.kind.index()) {
            count(counter);
        }
        if let Some(refusal) = self.refusal {
            counters.refuse(refusal);
        }
        let Some(entry) = &self.entry else { return };
        if entry.sampled == Sampled::IfError && self.refusal.is_none() {
            return;
        }
        let endpoint = entry.endpoint.as_ref();
        let took = self.started.elapsed();
        tracing::info!(
            target: "access",
            stream = self.kind.label(),
            name = entry.name.as_deref().unwrap_or_default(),
            reason = self.refusal.map(Refusal::label).unwrap_or_default(),
            ended = self.ended,
            listener = entry.listener.as_ref().map(ListenerKey::as_str).unwrap_or_default(),
            service = entry.service.as_deref().unwrap_or_default(),
            route = entry.route.as_ref().map(RouteKey::as_str).unwrap_or_default(),
            client = entry.client.map(tracing::field::display),
            client_identity = entry.client_identity.as_ref().map(SpiffeId::as_str),
            own_identity = self.telemetry.identity.as_ref().map(SpiffeId::as_str),
            endpoint = endpoint.map(|(address, _)| tracing::field::display(address)),
            endpoint_identity = endpoint.and_then(|(_, identity)| identity.as_ref()).map(SpiffeId::as_str),
            bytes_received = self.moved.received.get(),
            bytes_sent = self.moved.sent.get(),
            total_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            generation = entry.generation.0,
        );
    }
}

// === impl Carried ===

impl Carried {
    fn label(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::ClientBroke => "client_broke_off",
            Self::EndpointBroke => "endpoint_broke_off",
            Self::CutOff => "cut_off",
            Self::Moved => "moved",
            Self::Displaced => "displaced",
        }
    }
}

/// Writes the sums of all workers.
pub(super) fn encode(workers: &[Arc<Counters>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    type Place = fn(&StreamCounters, usize) -> Option<&AtomicU64>;
    let sum = |of: Place, index| -> u64 {
        workers.iter().filter_map(|it| of(&it.streams, index)).map(|it| it.load(Relaxed)).sum()
    };
    let reasons = Refusal::ALL.map(Refusal::label);
    let families: [(&str, &str, &str, &[&str], Place); 4] = [
        ("streams", "Byte streams and datagram sessions begun", "kind", &StreamKind::LABELS, |it, index| {
            it.begun.get(index)
        }),
        (
            "streams_refused",
            "Connections closed and datagrams dropped instead of being carried",
            "reason",
            &reasons,
            |it, index| it.refused.get(index),
        ),
        (
            "stream_bytes",
            "Bytes of streams and datagrams, from clients and to them",
            "direction",
            &DIRECTIONS,
            |it, index| it.bytes.get(index),
        ),
        ("datagrams", "Datagrams, from clients and to them", "direction", &DIRECTIONS, |it, index| {
            it.datagrams.get(index)
        }),
    ];
    for (name, help, label, values, of) in families {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (index, value) in values.iter().enumerate() {
            ConstCounter::new(sum(of, index)).encode(metric.encode_family(&[(label, *value)])?)?;
        }
    }
    let plain: [(&str, &str, Place); 2] = [
        ("streams_cut_off", "Streams that the end of the proxy cut off", |it, _| Some(&it.cut_off)),
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
    use crate::settings::AccessLogging;
    use fairway_runtime::logs::{self, Format};

    fn logged(logging: AccessLogging, format: Format, stream: impl FnOnce(&Rc<Telemetry>)) -> Vec<String> {
        let own = "spiffe://cluster.local/ns/shop/sa/waypoint".parse().unwrap();
        let telemetry = Rc::new(Telemetry::new(Arc::default(), Some(own), logging));
        logs::logged(format, || stream(&telemetry))
    }

    fn good(telemetry: &Rc<Telemetry>) {
        let mut record = StreamRecord::begin(telemetry, StreamKind::Tcp, Some([192, 0, 2, 1].into()));
        record.asked_of(&"shop/db".into(), 5432, Generation(3));
        record.comes_from(Some(&"spiffe://cluster.local/ns/shop/sa/web".parse().unwrap()));
        record.reached(&EndpointRecord::new(([10, 0, 0, 1], 5432).into(), None));
        record.moved().received.set(7);
        record.ended(Carried::Whole);
    }

    fn refused(telemetry: &Rc<Telemetry>) {
        StreamRecord::begin(telemetry, StreamKind::Tls, None).refuse(Refusal::NoListener);
    }

    #[tokio::test(start_paused = true)]
    async fn each_stream_has_a_line_that_tells_how_it_ended() {
        let both = |telemetry: &Rc<Telemetry>| {
            good(telemetry);
            refused(telemetry);
        };
        assert_eq!(
            logged(AccessLogging::OneIn(1), Format::Text, both),
            [
                "INFO access: stream=\"tcp\" name=\"\" reason=\"\" ended=\"whole\" listener=\"\" service=\"shop/db:5432\" \
                 route=\"\" client=192.0.2.1 client_identity=\"spiffe://cluster.local/ns/shop/sa/web\" \
                 own_identity=\"spiffe://cluster.local/ns/shop/sa/waypoint\" endpoint=10.0.0.1:5432 \
                 bytes_received=7 bytes_sent=0 total_us=0 generation=3",
                "INFO access: stream=\"tls\" name=\"\" reason=\"no_listener\" ended=\"refused\" listener=\"\" service=\"\" \
                 route=\"\" own_identity=\"spiffe://cluster.local/ns/shop/sa/waypoint\" bytes_received=0 bytes_sent=0 \
                 total_us=0 generation=0",
            ]
        );
        assert_eq!(
            logged(AccessLogging::Errors, Format::Json, both),
            [
                "\"level\":\"INFO\",\"stream\":\"tls\",\"name\":\"\",\"reason\":\"no_listener\",\"ended\":\"refused\",\
              \"listener\":\"\",\"service\":\"\",\"route\":\"\",\
              \"own_identity\":\"spiffe://cluster.local/ns/shop/sa/waypoint\",\"bytes_received\":0,\"bytes_sent\":0,\
              \"total_us\":0,\"generation\":0,\"target\":\"access\"}"
            ]
        );
        assert_eq!(logged(AccessLogging::Off, Format::Text, both).len(), 0);
    }

    #[test]
    fn every_refusal_has_a_place_and_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = Refusal::ALL.map(Refusal::label).into_iter().collect();
        assert_eq!(words.len(), Refusal::ALL.len());
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal.index(), index);
        }
    }
}
