//! Which hostnames cover a common name. Its cost grows with the number of hostnames and with their labels: a Gateway can have
//! thousands of listeners, by its ListenerSets.

use fairway_config::model::HostnamePattern;
use std::collections::HashMap;

/// Hostnames, each of which somebody has; no two have the same.
#[derive(Debug)]
pub(super) struct Overlaps<T> {
    /// In order, with the labels that the hostname ends in, and whether there may be others before them.
    listed: Vec<(T, String, bool)>,
    /// Those that there may be others before, by what they end in.
    wildcards: HashMap<String, usize>,
}

/// Whose hostnames overlap with one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Others<T> {
    /// The first of them, in order.
    pub first: Vec<T>,
    /// How many there are.
    pub count: usize,
}

// === impl Overlaps ===

impl<T> Default for Overlaps<T> {
    fn default() -> Self {
        Self { listed: Vec::new(), wildcards: HashMap::new() }
    }
}

impl<T: Copy + Ord> Overlaps<T> {
    /// Adds a hostname; none, or an empty one, covers every name. What is no hostname covers nothing, and is refused elsewhere.
    pub(super) fn add(&mut self, of: T, hostname: Option<&str>) {
        let (suffix, is_wide) = match hostname.filter(|it| !it.is_empty()).map(str::parse) {
            None => (String::new(), true),
            Some(Ok(HostnamePattern::Wildcard(suffix))) => (suffix.to_ascii_lowercase(), true),
            Some(Ok(HostnamePattern::Exact(name))) => (name.to_ascii_lowercase(), false),
            Some(Err(_)) => return,
        };
        if is_wide {
            self.wildcards.entry(suffix.clone()).or_insert(self.listed.len());
        }
        self.listed.push((of, suffix, is_wide));
    }

    /// Who overlaps with whom, with the first `named` of the others. Two hostnames do if one is below the other.
    pub(super) fn found(&self, named: usize) -> Vec<(T, Others<T>)> {
        let mut others = vec![Others { first: Vec::new(), count: 0 }; self.listed.len()];
        let mut note = |to: usize, other: T| {
            let Some(to) = others.get_mut(to) else { return };
            to.count += 1;
            // Those above come as they are met, those below in order: the greatest makes room.
            let at = to.first.partition_point(|it| *it < other);
            if at < named {
                to.first.insert(at, other);
                to.first.truncate(named);
            }
        };
        for (index, (of, suffix, _)) in self.listed.iter().enumerate() {
            for above in suffixes(suffix) {
                let Some(wide) = self.wildcards.get(above).filter(|it| **it != index) else { continue };
                let Some((other, ..)) = self.listed.get(*wide) else { continue };
                note(index, *other);
                note(*wide, *of);
            }
        }
        let all = self.listed.iter().zip(others).filter(|(_, it)| it.count > 0);
        all.map(|((of, ..), others)| (*of, others)).collect()
    }
}

/// What a name ends in, from all but its first label to nothing.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(shorter(name), |it| shorter(it))
}

fn shorter(name: &str) -> Option<&str> {
    (!name.is_empty()).then(|| name.split_once('.').map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The same by comparing each with each.
    fn by_pairs(hostnames: &[String]) -> BTreeMap<usize, Vec<usize>> {
        let pattern = |it: &str| (!it.is_empty()).then(|| it.parse::<HostnamePattern>().unwrap());
        let common = |a: &str, b: &str| match (pattern(a), pattern(b)) {
            (Some(a), Some(b)) => a.intersect(&b).is_some(),
            _ => true,
        };
        let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, a) in hostnames.iter().enumerate() {
            for (other, b) in hostnames.iter().enumerate() {
                if index != other && common(a, b) {
                    found.entry(index).or_default().push(other);
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn those_that_cover_a_common_name_are_found(
            hostnames in prop::collection::hash_set("((\\*\\.)?[ab](\\.[ab]){0,3})?", 0..20)
        ) {
            let hostnames: Vec<String> = hostnames.into_iter().collect();
            let mut overlaps = Overlaps::default();
            hostnames.iter().enumerate().for_each(|(index, it)| overlaps.add(index, Some(it)));
            let found: BTreeMap<_, _> = overlaps.found(3).into_iter().collect();
            let expected = by_pairs(&hostnames).into_iter().map(|(index, others)| {
                let (first, count) = (others.iter().copied().take(3).collect(), others.len());
                (index, Others { first, count })
            });
            prop_assert_eq!(found, expected.collect());
        }
    }

    #[test]
    fn a_thousand_listener_sets_cost_what_their_number_says() {
        let mut overlaps = Overlaps::default();
        for index in 0..64_000_usize {
            overlaps.add(index, Some(&format!("*.h{index}.example.com")));
        }
        overlaps.add(64_000, Some("*.example.com"));
        let found = overlaps.found(5);
        assert_eq!(found.len(), 64_001);
        assert_eq!(found.last().unwrap().1, Others { first: vec![0, 1, 2, 3, 4], count: 64_000 });
    }
}
