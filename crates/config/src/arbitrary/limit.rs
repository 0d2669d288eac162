//! Limits for property tests.

use super::{condition, name, route, text};
use crate::model::{Limit, LimitKeyPart, Limits, RateLimit};
use fairway_policy::Mode;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::num::NonZeroU32;
use std::time::Duration;

/// Limits with every sort of key, and closed ones.
pub fn rate_limit() -> impl Strategy<Value = RateLimit> {
    let mode = prop_oneof![Just(Mode::Enforce), Just(Mode::Observe)];
    let limits = prop_oneof![1 => Just(Limits::Closed), 4 => vec(limit(), 0..3).prop_map(Limits::Each)];
    (name(), mode, limits).prop_map(|(name, mode, limits)| RateLimit { name, mode, limits })
}

fn limit() -> impl Strategy<Value = Limit> {
    let count = || (1..=u32::MAX).prop_map(|it| NonZeroU32::new(it).unwrap_or(NonZeroU32::MIN));
    let per = (1..=u64::from(u32::MAX)).prop_map(Duration::from_millis);
    let part = prop_oneof![
        Just(LimitKeyPart::ClientAddress),
        Just(LimitKeyPart::Identity),
        route::header_name().prop_map(LimitKeyPart::Header),
    ];
    let matches = of(vec(vec(condition(), 0..3), 0..3));
    (of(text()), count(), per, count(), vec(part, 0..3), matches).prop_map(
        |(name, requests, per, burst, key, matches)| Limit { name, requests, per, burst, key, matches },
    )
}
