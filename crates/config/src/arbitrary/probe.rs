//! Generators of probes whose fields decoding accepts.

use super::route::{header_name, header_value};
use super::{port, text};
use crate::model::{HttpProbe, Probe, ProbeAction};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

pub(super) fn probe() -> impl Strategy<Value = Probe> {
    let headers = vec((header_name(), header_value()), 0..3);
    let http = ("/[!-~]{0,8}", of(header_value()), headers, any::<bool>())
        .prop_map(|(target, host, headers, tls)| HttpProbe { target: target.into(), host, headers, tls });
    let action = prop_oneof![
        Just(ProbeAction::Connect),
        http.prop_map(ProbeAction::Http),
        text().prop_map(|service| ProbeAction::Grpc { service }),
    ];
    (port(), action).prop_map(|(port, action)| Probe { port, action })
}
