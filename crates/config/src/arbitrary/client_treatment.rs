//! How listeners treat their clients.

use crate::model::{
    CertificateHeader, ClientKeepalive, ClientLimit, ClientLimits, ClientTimeout, ClientTimeouts,
    ClientTreatment, RequestIds, Underscores,
};
use proptest::option::of;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// Also none; never one that says nothing.
pub(super) fn treatment() -> impl Strategy<Value = Option<Arc<ClientTreatment>>> {
    let certificate_header = prop_oneof![Just(CertificateHeader::Drop), Just(CertificateHeader::Set)];
    let request_ids =
        prop_oneof![Just(RequestIds::BuiltIn), Just(RequestIds::Keep), Just(RequestIds::Generate)];
    let underscores =
        prop_oneof![Just(Underscores::Keep), Just(Underscores::Drop), Just(Underscores::Refuse)];
    let all = (timeouts(), limits(), certificate_header, request_ids, underscores, keepalive());
    let treatment =
        all.prop_map(|(timeouts, limits, certificate_header, request_ids, underscores, keepalive)| {
            ClientTreatment { timeouts, limits, certificate_header, request_ids, underscores, keepalive }
        });
    of(treatment).prop_map(|it| it.filter(|it| !it.is_empty()).map(Arc::new))
}

fn timeouts() -> impl Strategy<Value = ClientTimeouts> {
    ClientTimeout::ALL.map(|it| of(1..=it.longest().as_secs())).prop_map(|all| {
        let mut timeouts = ClientTimeouts::default();
        for (timeout, seconds) in ClientTimeout::ALL.into_iter().zip(all) {
            *timeouts.get_mut(timeout) = seconds.map(Duration::from_secs);
        }
        timeouts
    })
}

fn limits() -> impl Strategy<Value = ClientLimits> {
    ClientLimit::ALL.map(|it| of(it.range())).prop_map(|all| {
        let mut limits = ClientLimits::default();
        for (limit, value) in ClientLimit::ALL.into_iter().zip(all) {
            *limits.get_mut(limit) = value;
        }
        limits
    })
}

fn keepalive() -> impl Strategy<Value = ClientKeepalive> {
    (of(ClientKeepalive::IDLE), of(ClientKeepalive::INTERVAL), of(ClientKeepalive::PROBES)).prop_map(
        |(idle, interval, probes)| ClientKeepalive {
            idle: idle.map(Duration::from_secs),
            interval: interval.map(Duration::from_secs),
            probes,
        },
    )
}
