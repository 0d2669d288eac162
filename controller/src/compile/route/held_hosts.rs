//! The hosts that routes of a listener hold, and which of the routes has a host in common with another one. What is asked costs as
//! much as the name has labels, however many routes there are.

use ahash::HashMap;
use fairway_config::model::HostnamePattern;

/// Hosts, each with the place of the first route that holds it.
#[derive(Debug, Default)]
pub(super) struct HeldHosts<'c> {
    /// Of the first that holds any.
    first: Option<usize>,
    /// Of the first that holds all.
    all: Option<usize>,
    exact: HashMap<&'c str, usize>,
    /// Of wildcards, by the suffix without `*`.
    wildcard: HashMap<&'c str, usize>,
    /// By suffix: of the first that holds a name or a wildcard there or below.
    below: HashMap<&'c str, usize>,
}

// === impl HeldHosts ===

impl<'c> HeldHosts<'c> {
    /// Adds a host of the route at a place; none is all hosts. Places only grow.
    pub(super) fn insert(&mut self, host: Option<&'c HostnamePattern>, place: usize) {
        self.first.get_or_insert(place);
        let name = match host {
            None => {
                self.all.get_or_insert(place);
                return;
            }
            Some(HostnamePattern::Exact(name)) => {
                self.exact.entry(name).or_insert(place);
                name
            }
            Some(HostnamePattern::Wildcard(suffix)) => {
                self.wildcard.entry(suffix).or_insert(place);
                self.below.entry(suffix).or_insert(place);
                suffix
            }
        };
        for suffix in suffixes(name) {
            self.below.entry(suffix).or_insert(place);
        }
    }

    /// The place of the first route that holds a host in common with this one.
    pub(super) fn intersecting(&self, host: Option<&HostnamePattern>) -> Option<usize> {
        let (name, there) = match host {
            None => return self.first,
            Some(HostnamePattern::Exact(name)) => (name, self.exact.get(&**name)),
            Some(HostnamePattern::Wildcard(suffix)) => (suffix, self.below.get(&**suffix)),
        };
        let above = suffixes(name).filter_map(|suffix| self.wildcard.get(suffix));
        above.chain(there).chain(&self.all).min().copied()
    }
}

/// What is behind each dot of a name.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').filter_map(|(at, _)| name.get(at + 1..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_host() -> impl Strategy<Value = Option<HostnamePattern>> {
        prop::option::weighted(0.95, "([*][.])?([ab][.]){0,3}(com|org)")
            .prop_map(|it| it.map(|text| text.parse().unwrap()))
    }

    proptest! {
        #[test]
        fn the_first_that_intersects_is_found(
            held in prop::collection::vec(any_host(), 0..8),
            asked in any_host(),
        ) {
            let mut index = HeldHosts::default();
            for (place, host) in held.iter().enumerate() {
                index.insert(host.as_ref(), place);
            }
            let intersects = |host: &Option<HostnamePattern>| match (host, &asked) {
                (Some(a), Some(b)) => a.intersect(b).is_some(),
                _ => true,
            };
            prop_assert_eq!(index.intersecting(asked.as_ref()), held.iter().position(intersects));
        }
    }
}
