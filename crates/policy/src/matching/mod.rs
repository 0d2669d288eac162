//! Predicates over one attribute of a request: hostnames, paths, gRPC methods, headers, regular expressions.
//!
//! They have the shape of the matches of HTTPRoute and GRPCRoute. Routes and policies use the same types.

mod hostname;
mod lines;
mod pattern;
mod program;
mod spelling;
mod work;

pub use hostname::{HostnamePattern, InvalidHostname};
pub use lines::join_lines;
pub use pattern::{InvalidPattern, Pattern};
pub use spelling::is_spelling;
pub use work::Work;

use http::HeaderName;
use std::sync::Arc;

/// A condition on the path of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum PathMatch {
    /// The whole path, case-sensitive.
    Exact(Arc<str>),
    /// Whole path elements: `/abc` matches `/abc`, `/abc/` and `/abc/d`, not `/abcd`. Kept without a trailing `/`
    /// (`/` itself is kept as the empty string and matches everything).
    Prefix(Arc<str>),
    /// A regular expression over the whole path.
    Regex(Pattern),
    /// A gRPC service and method: the path is `/<service>/<method>`.
    Grpc(GrpcMethodMatch),
}

/// A gRPC method; a part that is absent matches all.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct GrpcMethodMatch {
    /// The full service name, `package.Service`.
    pub service: Option<ValueMatch>,
    /// The name of the method within its service, case-sensitive.
    pub method: Option<ValueMatch>,
}

/// A condition on a request header.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderMatch {
    /// The name of the header, in lower case.
    pub name: HeaderName,
    /// Its value; of a header that stands more than once, the values as one ([`join_lines`]).
    pub value: ValueMatch,
}

/// How a text is compared.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueMatch {
    /// Equal byte by byte; no case folding.
    Exact(Arc<str>),
    /// The expression matches the whole text, as if it stood between `^` and `$`.
    Regex(Pattern),
}

// === impl PathMatch ===

impl PathMatch {
    /// Whether a path matches. The query is not part of the path.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(expected) => **expected == *path,
            // Also `*`, the path of an OPTIONS request for the whole server.
            Self::Prefix(prefix) if prefix.is_empty() => true,
            Self::Prefix(prefix) => {
                path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Regex(pattern) => pattern.is_match(path),
            Self::Grpc(method) => method.matches(path),
        }
    }
}

impl PathMatch {
    /// Whether a path of this length is compared.
    pub fn takes(&self, length: usize) -> bool {
        match self {
            Self::Exact(_) | Self::Prefix(_) => true,
            Self::Regex(pattern) => pattern.takes(length),
            Self::Grpc(method) => {
                [&method.service, &method.method].into_iter().flatten().all(|it| it.takes(length))
            }
        }
    }
}

// === impl GrpcMethodMatch ===

impl GrpcMethodMatch {
    /// Whether a path is `/<service>/<method>` and both parts match.
    pub fn matches(&self, path: &str) -> bool {
        let Some((service, method)) = path.strip_prefix('/').and_then(|rest| rest.split_once('/')) else {
            return false;
        };
        let holds = |expected: &Option<ValueMatch>, text| expected.as_ref().is_none_or(|it| it.matches(text));
        !service.is_empty()
            && !method.is_empty()
            && !method.contains('/')
            && holds(&self.service, service)
            && holds(&self.method, method)
    }
}

// === impl ValueMatch ===

impl ValueMatch {
    /// Whether a text of this length is compared. An expression whose program is large takes no long ones.
    pub fn takes(&self, length: usize) -> bool {
        match self {
            Self::Exact(_) => true,
            Self::Regex(pattern) => pattern.takes(length),
        }
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(expected) => **expected == *text,
            Self::Regex(pattern) => pattern.is_match(text),
        }
    }

    /// Whether the whole text of a client matches; none if nobody can say, as [`Pattern::compare`] has it.
    pub fn compare(&self, text: &str, work: &Work) -> Option<bool> {
        match self {
            Self::Exact(expected) => Some(**expected == *text),
            Self::Regex(pattern) => pattern.compare(text, work),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_of_whole_path_elements() {
        for (prefix, path, expected) in [
            ("/abc", "/abc", true),
            ("/abc", "/abc/", true),
            ("/abc", "/abc/d", true),
            ("/abc", "/abcd", false),
            ("/abc", "/ABC", false),
            ("", "/anything", true),
            ("", "/", true),
            ("", "*", true),
            ("/abc", "*", false),
        ] {
            assert_eq!(PathMatch::Prefix(prefix.into()).matches(path), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn a_grpc_method_is_a_path_of_two_elements() {
        let exact = |text: &str| Some(ValueMatch::Exact(text.into()));
        let any = GrpcMethodMatch::default();
        let get = GrpcMethodMatch { service: exact("shop.Cart"), method: exact("Get") };
        for (path, is_grpc, is_get) in [
            ("/shop.Cart/Get", true, true),
            ("/shop.Cart/Set", true, false),
            ("/shop.cart/Get", true, false),
            ("/shop.Cart/Get/", false, false),
            ("/shop.Cart/", false, false),
            ("//Get", false, false),
            ("/shop.Cart", false, false),
            ("/", false, false),
        ] {
            assert_eq!((any.matches(path), get.matches(path)), (is_grpc, is_get), "{path}");
        }
    }
}
