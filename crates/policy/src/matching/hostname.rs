//! Hostnames of listeners and routes: exact, or `*.` and a suffix.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A hostname as the Gateway API writes it; lower case.
///
/// ```
/// use fairway_policy::HostnamePattern;
///
/// let wildcard: HostnamePattern = "*.example.com".parse()?;
/// assert!(wildcard.matches("a.b.example.com"), "it stands for several labels, unlike in a certificate");
/// assert!(!wildcard.matches("example.com"), "but for one at least");
/// assert_eq!(wildcard.intersect(&"*.com".parse()?), Some(wildcard.clone()), "the more specific of the two");
/// # Ok::<(), fairway_policy::InvalidHostname>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostnamePattern {
    /// One name, such as `www.example.com`.
    Exact(Arc<str>),
    /// `*.example.com`, kept as `example.com`: matches every name with at least one label before it.
    Wildcard(Arc<str>),
}

/// A text that is not a hostname.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a hostname: it takes DNS labels joined by dots, and `*` only as the whole first label")]
pub struct InvalidHostname(pub String);

impl HostnamePattern {
    /// Whether a request's host (lower case, without port) is covered.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *host,
            Self::Wildcard(suffix) => host
                .strip_suffix(&**suffix)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty()),
        }
    }

    /// The hostname that both cover: the more specific of the two, or none when they have nothing in common.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Exact(name), _) if other.matches(name) => Some(self.clone()),
            (_, Self::Exact(name)) if self.matches(name) => Some(other.clone()),
            (Self::Wildcard(a), Self::Wildcard(b)) if a == b || other.matches(a) => Some(self.clone()),
            (Self::Wildcard(_), Self::Wildcard(b)) if self.matches(b) => Some(other.clone()),
            _ => None,
        }
    }

    /// Orders patterns by the API's precedence: exact before wildcard, then the one with more characters.
    pub fn specificity(&self) -> (bool, usize) {
        match self {
            Self::Exact(name) => (true, name.len()),
            Self::Wildcard(suffix) => (false, suffix.len() + 2),
        }
    }
}

impl FromStr for HostnamePattern {
    type Err = InvalidHostname;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.to_ascii_lowercase();
        let (wildcard, name) = match lower.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, lower.as_str()),
        };
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(label_ok) {
            return Err(InvalidHostname(text.to_owned()));
        }
        Ok(if wildcard { Self::Wildcard(name.into()) } else { Self::Exact(name.into()) })
    }
}

impl fmt::Display for HostnamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl fmt::Debug for HostnamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostnamePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_wildcard_needs_a_label_before_it() {
        assert!(pattern("*.example.com").matches("a.example.com"));
        assert!(pattern("*.example.com").matches("a.b.example.com"));
        assert!(!pattern("*.example.com").matches("example.com"));
        assert!(!pattern("*.example.com").matches(".example.com"));
        assert!(!pattern("*.example.com").matches("aexample.com"));
    }

    #[test]
    fn the_intersection_is_the_more_specific_of_the_two() {
        for (a, b, both) in [
            ("*.example.com", "a.example.com", Some("a.example.com")),
            ("*.example.com", "*.a.example.com", Some("*.a.example.com")),
            ("*.example.com", "*.example.com", Some("*.example.com")),
            ("*.example.com", "example.com", None),
            ("a.example.com", "b.example.com", None),
            ("*.a.example.com", "*.b.example.com", None),
        ] {
            assert_eq!(pattern(a).intersect(&pattern(b)), both.map(pattern), "{a} {b}");
            assert_eq!(pattern(b).intersect(&pattern(a)), both.map(pattern), "{b} {a}");
        }
    }

    #[test]
    fn what_is_no_hostname_is_refused() {
        for text in ["", "*", "*.", "a..b", "-a.b", "a.*.b", "a_b.c", "a.b."] {
            assert!(text.parse::<HostnamePattern>().is_err(), "{text}");
        }
    }
}
