//! Finding things by a request's host.

use ahash::HashMap;
use fairway_config::model::HostnamePattern;
use std::sync::Arc;

/// Things that stand under hostnames. Immutable once built; a clone shares nothing but the things.
#[derive(Clone, Debug)]
pub struct HostIndex<T> {
    exact: HashMap<Arc<str>, T>,
    /// By suffix, without the `*.`.
    wildcard: HashMap<Arc<str>, T>,
    any: Option<T>,
}

// === impl HostIndex ===

impl<T> Default for HostIndex<T> {
    fn default() -> Self {
        Self { exact: HashMap::default(), wildcard: HashMap::default(), any: None }
    }
}

impl<T> HostIndex<T> {
    /// What stands under exactly this pattern; none stands for every host.
    pub fn get(&self, pattern: Option<&HostnamePattern>) -> Option<&T> {
        match pattern {
            Some(HostnamePattern::Exact(name)) => self.exact.get(name),
            Some(HostnamePattern::Wildcard(suffix)) => self.wildcard.get(suffix),
            None => self.any.as_ref(),
        }
    }

    /// Puts something under a pattern and gives what stood there.
    pub fn insert(&mut self, pattern: Option<&HostnamePattern>, thing: T) -> Option<T> {
        match pattern {
            Some(HostnamePattern::Exact(name)) => self.exact.insert(name.clone(), thing),
            Some(HostnamePattern::Wildcard(suffix)) => self.wildcard.insert(suffix.clone(), thing),
            None => self.any.replace(thing),
        }
    }

    /// Takes away what stands under a pattern.
    pub fn remove(&mut self, pattern: Option<&HostnamePattern>) -> Option<T> {
        match pattern {
            Some(HostnamePattern::Exact(name)) => self.exact.remove(name),
            Some(HostnamePattern::Wildcard(suffix)) => self.wildcard.remove(suffix),
            None => self.any.take(),
        }
    }

    /// Everything that covers a host (lower case, without port), the most specific first.
    pub fn covering(&self, host: &str) -> impl Iterator<Item = &T> {
        let suffixes = (!self.wildcard.is_empty()).then(|| host.match_indices('.'));
        let wildcard = suffixes
            .into_iter()
            .flatten()
            // A wildcard stands for at least one label, and a label has a character.
            .filter(|(at, _)| *at > 0)
            .filter_map(|(at, _)| self.wildcard.get(&host[at + 1..]));
        self.exact.get(host).into_iter().chain(wildcard).chain(&self.any)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty() && self.any.is_none()
    }

    /// Everything with its hostname, the most specific first; `*` stands for every host.
    pub fn entries(&self) -> Vec<(String, &T)> {
        let exact = self.exact.iter().map(|(name, thing)| (name.to_string(), thing));
        let mut entries: Vec<_> = exact.collect();
        let mut wildcard: Vec<_> =
            self.wildcard.iter().map(|(suffix, it)| (format!("*.{suffix}"), it)).collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        wildcard.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        entries.extend(wildcard);
        entries.extend(self.any.iter().map(|thing| ("*".to_owned(), thing)));
        entries
    }

    /// Every entry, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.wildcard.values()).chain(&self.any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_hostname_comes_first() {
        let mut index = HostIndex::default();
        for text in ["a.example.com", "*.example.com", "*.com", "*.a.example.com"] {
            index.insert(Some(&text.parse().unwrap()), text);
        }
        index.insert(None, "any");
        for (host, expected) in [
            ("a.example.com", vec!["a.example.com", "*.example.com", "*.com", "any"]),
            ("b.a.example.com", vec!["*.a.example.com", "*.example.com", "*.com", "any"]),
            ("example.com", vec!["*.com", "any"]),
            ("com", vec!["any"]),
            (".com", vec!["any"]),
            ("", vec!["any"]),
        ] {
            assert_eq!(index.covering(host).copied().collect::<Vec<_>>(), expected, "{host}");
        }
    }
}
