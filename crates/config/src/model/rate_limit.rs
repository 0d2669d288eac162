//! How often requests may come.

use super::authorization::{close, require};
use super::{Capabilities, Capability, References, Requires};
use fairway_policy::{Condition, Mode};
use http::HeaderName;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// The limits of one policy at one of its targets. All that name it are counted together: the listeners of a Gateway, the rules of
/// a route, the ports of a Service. Each proxy counts by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// What listeners, rules and backends call it by.
    pub name: Arc<str>,
    /// Whether what it decides counts.
    pub mode: Mode,
    /// The limits, every one of which counts.
    pub limits: Limits,
}

/// Limits, as far as they can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Limits {
    /// They cannot: nothing passes.
    Closed,
    /// Every one of these counts.
    Each(Vec<Limit>),
}

/// How many requests pass in a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// As the user named it.
    pub name: Option<Arc<str>>,
    /// So many requests pass…
    pub requests: NonZeroU32,
    /// …in this time, evenly spread; not zero.
    pub per: Duration,
    /// So many at once, after a silence.
    pub burst: NonZeroU32,
    /// What tells those apart that are counted each by itself. Without a part all are counted together.
    pub key: Vec<LimitKeyPart>,
    /// What is counted: what one of these lists of conditions matches. `None` counts everything. As in a Deny, a condition that
    /// cannot be judged holds.
    pub matches: Option<Vec<Vec<Condition>>>,
}

/// Something that tells clients apart. Those that do not have it are one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LimitKeyPart {
    /// The address of the client; of IPv6 the first 64 bits.
    ClientAddress,
    /// The identity that the client has proved.
    Identity,
    /// The value of a header, all its lines together.
    Header(HeaderName),
}

// === impl Limit ===

impl Limit {
    /// Whether it looks at nothing of whoever asks but the address, and is judged before it is known who that is.
    pub fn is_coarse(&self) -> bool {
        self.key == [LimitKeyPart::ClientAddress]
    }

    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.matches.iter().flatten().flatten()
    }

    fn closed_for(&self, known: Capabilities) -> Self {
        let list = |list: &Vec<Condition>| list.iter().map(|it| close(it, known)).collect();
        let matches = self.matches.as_ref().map(|lists| lists.iter().map(list).collect());
        Self { matches, ..self.clone() }
    }
}

// === impl RateLimit ===

impl References for RateLimit {}

impl Requires for RateLimit {
    fn requires(&self) -> Capabilities {
        let mut required = Capabilities::from_iter([Capability::LocalLimits]);
        if let Limits::Each(limits) = &self.limits {
            limits.iter().flat_map(Limit::conditions).for_each(|it| require(it, &mut required));
        }
        required
    }

    /// Who does not count gets nothing: what names limits is closed there. A condition that is not known holds, so that more is
    /// counted than was meant.
    fn closed_for(&self, known: Capabilities) -> Option<Self> {
        if !known.contains(Capability::LocalLimits) {
            return None;
        }
        let limits = match &self.limits {
            Limits::Closed => Limits::Closed,
            Limits::Each(limits) => Limits::Each(limits.iter().map(|it| it.closed_for(known)).collect()),
        };
        Some(Self { limits, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    fn limit() -> Limit {
        Limit {
            name: None,
            requests: NonZeroU32::MIN,
            per: Duration::from_secs(1),
            burst: NonZeroU32::MIN,
            key: vec![],
            matches: Some(vec![vec![Condition::MethodIs(vec![Method::POST])]]),
        }
    }

    #[test]
    fn a_proxy_that_does_not_count_gets_no_limits_and_one_that_does_not_know_a_condition_counts_more() {
        let written =
            RateLimit { name: "p".into(), mode: Mode::Enforce, limits: Limits::Each(vec![limit()]) };
        assert_eq!(
            written.requires(),
            Capabilities::from_iter([Capability::LocalLimits, Capability::Method])
        );
        assert_eq!(written.closed_for(Capabilities::FIRST_EDITION), None);
        let closed = written.closed_for(Capabilities::from_iter([Capability::LocalLimits])).unwrap();
        let Limits::Each(limits) = closed.limits else { panic!("{closed:?}") };
        let not_understood = Condition::NotUnderstood("condition.method".into());
        assert_eq!(limits[0].matches, Some(vec![vec![not_understood]]));
    }

    #[test]
    fn a_limit_by_address_alone_is_coarse() {
        let by = |key: Vec<LimitKeyPart>| Limit { key, ..limit() }.is_coarse();
        assert!(by(vec![LimitKeyPart::ClientAddress]));
        assert!(!by(vec![]));
        assert!(!by(vec![LimitKeyPart::Identity]));
        assert!(!by(vec![LimitKeyPart::ClientAddress, LimitKeyPart::Identity]));
    }
}
