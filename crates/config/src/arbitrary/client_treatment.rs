//! How listeners treat their clients.

use crate::model::{ClientLimit, ClientLimits, ClientTimeout, ClientTimeouts, ClientTreatment};
use proptest::option::of;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// Also none; never one that says nothing.
pub(super) fn treatment() -> impl Strategy<Value = Option<Arc<ClientTreatment>>> {
    of((timeouts(), limits()).prop_map(|(timeouts, limits)| ClientTreatment { timeouts, limits }))
        .prop_map(|it| it.filter(|it| !it.is_empty()).map(Arc::new))
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
