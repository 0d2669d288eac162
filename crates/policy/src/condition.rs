//! One condition on the attributes of a connection or request, and when it holds.

use crate::address::CidrSet;
use crate::attributes::{AttributeName, Attributes, Request};
use crate::matching::{HeaderMatch, HostnamePattern, ValueMatch, is_spelling, join_lines};
use crate::path::{Path, PathCondition};
use crate::{Action, TrustDomain};
use fairway_identity::SpiffeId;
use http::header::COOKIE;
use http::{HeaderName, HeaderValue, Method};
use std::borrow::Cow;
use std::sync::Arc;

/// A condition. Those with several values hold if one of the values does; one with no value never holds.
///
/// What may be understood in two ways is read against the client, in an Allow and in a Deny:
///
/// ```
/// use fairway_policy::{
///     Action, Attached, Attributes, Authorization, Condition, Level, Path, PathMatch, Request, Rule, evaluate,
/// };
/// use http::{HeaderMap, Method};
///
/// let is_let_in = |action: Action, path: &str| {
///     let admin = Condition::PathIs(vec![PathMatch::Prefix("/admin".into()).into()]);
///     let authorization = Authorization::new("shop/admin", action, vec![Rule::when(vec![admin])]);
///     let (path, headers) = (Path::new(path), HeaderMap::new());
///     let request = Request { method: &Method::GET, host: "shop.example", path: &path, headers: &headers };
///     let attributes = Attributes { peer: None, client: None, port: 80, request: Some(request) };
///     let name = &authorization.name;
///     let attached = Attached { level: Level::Route, name, authorization: Some(&authorization) };
///     evaluate([attached], &attributes).verdict.is_allowed()
/// };
/// assert!(is_let_in(Action::Allow, "/admin/users"));
///
/// // Some servers read these as `/admin/users` and some do not.
/// for path in ["//admin/users", "/admin;x/users", "/%2Fadmin/users"] {
///     assert!(!is_let_in(Action::Deny, path), "a Deny of /admin refuses {path}");
///     assert!(!is_let_in(Action::Allow, path), "an Allow of /admin does not let in {path}");
/// }
/// // Case matters in paths (RFC 3986 §6.2.2.1): this is another one.
/// assert!(is_let_in(Action::Deny, "/ADMIN"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The peer proved one of these identities. A service account is such an identity; whole SPIFFE IDs are compared, so
    /// that a service account of another trust domain is another one.
    PeerIs(Vec<SpiffeId>),
    /// The peer proved none of these identities (a peer without identity included).
    PeerIsNot(Vec<SpiffeId>),
    /// The peer proved an identity of one of these namespaces.
    PeerNamespaceIs {
        /// The trust domain of the mesh. A namespace of another one is another namespace.
        trust_domain: TrustDomain,
        /// The names of Kubernetes namespaces.
        namespaces: Vec<Arc<str>>,
    },
    /// The address of the client is in one of these ranges.
    ClientIn(CidrSet),
    /// The address of the client is in none of these ranges.
    ClientNotIn(CidrSet),
    /// The destination port is one of these.
    PortIs(Vec<u16>),
    /// The host of the request matches one of these.
    HostIs(Vec<HostnamePattern>),
    /// The method of the request is one of these. Methods are case-sensitive (RFC 9110 §9.1), but a Deny holds in any case: there are
    /// frameworks that read `delete` as `DELETE`.
    MethodIs(Vec<Method>),
    /// The path, or the gRPC method, matches one of these.
    PathIs(Vec<PathCondition>),
    /// The request has this header. Of several field lines an Allow needs every one to match. A Deny holds if one matches, or one part
    /// of a list, or all of them joined (RFC 9110 §5.3), and looks at names too that some servers take for this one (`x_role`, which
    /// an Allow cannot judge). The lines of a cookie are one (RFC 9113 §8.2.3).
    HeaderIs(HeaderMatch),
    /// All the conditions of one of these lists hold. No list: it never holds. An empty list: it always holds.
    AnyOf(Vec<Vec<Condition>>),
    /// A condition of a newer controller, or one that the controller itself did not understand. The text is for logs.
    NotUnderstood(Arc<str>),
}

/// Whether a condition holds, as far as that can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Yes,
    No,
    /// It cannot be judged here.
    Unknown,
}

// === impl Condition ===

impl Condition {
    /// Whether it holds. What cannot be judged holds in a Deny and does not hold in an Allow.
    pub(crate) fn holds(&self, attributes: &Attributes<'_>, action: Action) -> bool {
        match self.judge(attributes, action) {
            Truth::Yes => true,
            Truth::No => false,
            Truth::Unknown => action == Action::Deny,
        }
    }

    fn judge(&self, attributes: &Attributes<'_>, action: Action) -> Truth {
        match self {
            Self::PeerIs(ids) => attributes.peer.is_some_and(|peer| ids.contains(peer)).into(),
            Self::PeerIsNot(ids) => attributes.peer.is_none_or(|peer| !ids.contains(peer)).into(),
            Self::PeerNamespaceIs { trust_domain, namespaces } => {
                let is_of = |peer: &SpiffeId| {
                    peer.trust_domain() == trust_domain.as_str()
                        && namespaces.iter().any(|it| **it == *peer.namespace())
                };
                attributes.peer.is_some_and(is_of).into()
            }
            Self::ClientIn(cidrs) => Truth::of_known(attributes.client, |it| cidrs.contains(it)),
            Self::ClientNotIn(cidrs) => Truth::of_known(attributes.client, |it| !cidrs.contains(it)),
            Self::PortIs(ports) => ports.contains(&attributes.port).into(),
            Self::HostIs(hosts) => Truth::of_known(attributes.request, |request| {
                let host = comparable_host(request.host);
                hosts.iter().any(|it| it.matches(&host))
            }),
            Self::MethodIs(methods) => Truth::of_known(attributes.request, |request| match action {
                Action::Allow => methods.contains(request.method),
                Action::Deny => {
                    let method = request.method.as_str();
                    methods.iter().any(|it| it.as_str().eq_ignore_ascii_case(method))
                }
            }),
            Self::PathIs(paths) => match attributes.request {
                Some(request) => judge_path(paths, request.path, action),
                None => Truth::Unknown,
            },
            Self::HeaderIs(header) => match attributes.request {
                Some(request) => judge_header(header, request, action),
                None => Truth::Unknown,
            },
            Self::AnyOf(lists) => {
                let holds = |list: &Vec<Self>| list.iter().all(|it| it.holds(attributes, action));
                lists.iter().any(holds).into()
            }
            Self::NotUnderstood(_) => Truth::Unknown,
        }
    }

    /// The attribute that it looks at; none for one that is put together of others, or not understood.
    pub fn attribute(&self) -> Option<AttributeName> {
        Some(match self {
            Self::PeerIs(_) | Self::PeerIsNot(_) | Self::PeerNamespaceIs { .. } => {
                AttributeName::PeerIdentity
            }
            Self::ClientIn(_) | Self::ClientNotIn(_) => AttributeName::ClientAddress,
            Self::PortIs(_) => AttributeName::ServerPort,
            Self::HostIs(_) => AttributeName::ServerAddress,
            Self::MethodIs(_) => AttributeName::RequestMethod,
            Self::PathIs(_) => AttributeName::UrlPath,
            Self::HeaderIs(header) => AttributeName::RequestHeader(header.name.clone()),
            Self::AnyOf(_) | Self::NotUnderstood(_) => return None,
        })
    }

    /// Every attribute that it looks at, those of the conditions within it included.
    pub fn attributes(&self) -> Vec<AttributeName> {
        match self {
            Self::AnyOf(lists) => lists.iter().flatten().flat_map(Self::attributes).collect(),
            other => other.attribute().into_iter().collect(),
        }
    }

    /// Whether a proxy that sees connections, and no requests, can judge it.
    pub fn is_of_connection(&self) -> bool {
        match self {
            Self::AnyOf(lists) => lists.iter().flatten().all(Self::is_of_connection),
            Self::NotUnderstood(_) => false,
            other => other.attribute().is_some_and(|it| !it.is_of_request()),
        }
    }
}

/// One that the path is too long for cannot be judged.
fn judge_path(paths: &[PathCondition], path: &Path<'_>, action: Action) -> Truth {
    if paths.iter().any(|it| it.takes(path) && it.holds(path, action)) {
        return Truth::Yes;
    }
    if paths.iter().all(|it| it.takes(path)) { Truth::No } else { Truth::Unknown }
}

fn judge_header(header: &HeaderMatch, request: Request<'_>, action: Action) -> Truth {
    let is_other = |name: &HeaderName| {
        *name != header.name && is_spelling(name.as_str().as_bytes(), header.name.as_str().as_bytes())
    };
    if let ValueMatch::Regex(pattern) = &header.value {
        // The lines may be compared as one, those of other spellings with them.
        let lines = request.headers.iter().filter(|(name, _)| **name == header.name || is_other(name));
        if !pattern.takes(lines.map(|(_, value)| value.len() + 2).sum()) {
            return Truth::Unknown;
        }
    }
    let own = request.headers.get_all(&header.name).iter();
    let mut others = request.headers.iter().filter(|(name, _)| is_other(name)).map(|(_, value)| value);
    match action {
        // Which of two spellings a server reads is not known.
        Action::Allow if others.next().is_some() => Truth::Unknown,
        Action::Allow => allows(header, own),
        Action::Deny => denies(header, own.chain(others)),
    }
}

/// Every line matches, and there is one.
fn allows<'v>(header: &HeaderMatch, lines: impl Iterator<Item = &'v HeaderValue>) -> Truth {
    let mut lines = lines.map(|it| str::from_utf8(it.as_bytes()).ok()).peekable();
    if lines.peek().is_none() {
        return Truth::No;
    }
    if header.name == COOKIE {
        let lines: Option<Vec<&str>> = lines.collect();
        return Truth::of_known(lines, |lines| header.value.matches(&joined_cookie(&lines)));
    }
    // A line that is no text matches nothing.
    lines.all(|it| it.is_some_and(|it| header.value.matches(it))).into()
}

/// A line matches, or a part of one, or all of them joined.
fn denies<'v>(header: &HeaderMatch, lines: impl Iterator<Item = &'v HeaderValue>) -> Truth {
    // One line can say what others say in several: a list, or the pairs of a cookie.
    let separator = if header.name == COOKIE { ';' } else { ',' };
    let is_met = |line: &str| {
        let mut parts = line.split(separator).map(str::trim_ascii);
        header.value.matches(line) || line.contains(separator) && parts.any(|it| header.value.matches(it))
    };
    // Servers differ in what they read where a line is no text: then it cannot be judged.
    let mut lines = lines.map(|it| str::from_utf8(it.as_bytes()).ok());
    let (first, second) = match (lines.next(), lines.next()) {
        (None, _) => return Truth::No,
        (Some(only), None) => return Truth::of_known(only, is_met),
        (Some(first), Some(second)) => (first, second),
    };
    let lines: Option<Vec<&str>> = [first, second].into_iter().chain(lines).collect();
    let joined = |lines: &[&str]| match header.name == COOKIE {
        true => vec![joined_cookie(lines)],
        false => vec![lines.join(","), lines.join(", ")],
    };
    Truth::of_known(lines, |lines| {
        lines.iter().any(|it| is_met(it)) || joined(&lines).iter().any(|it| header.value.matches(it))
    })
}

/// The pieces of a cookie as one. Lines of text are text together.
fn joined_cookie(lines: &[&str]) -> String {
    let joined = join_lines(&COOKIE, lines.iter().map(|it| it.as_bytes()));
    String::from_utf8(joined).unwrap_or_default()
}

/// A host in lower case, without port and without the dot of the root.
fn comparable_host(host: &str) -> Cow<'_, str> {
    let name = match host.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => host.get(..end + 2).unwrap_or(host),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.bytes().any(|it| it.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

// === impl Truth ===

impl Truth {
    /// The truth of something about an attribute, if that is known.
    fn of_known<T>(attribute: Option<T>, holds: impl FnOnce(T) -> bool) -> Self {
        attribute.map_or(Self::Unknown, |it| holds(it).into())
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_case_port_and_root_dot() {
        for (host, comparable) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com:8080", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:443", "example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(comparable_host(host), comparable, "{host}");
        }
    }
}
