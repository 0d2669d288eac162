//! Rules bound to listeners or Services.

use super::{BackendKey, Filter, HostnamePattern, ListenerKey, Match, ObjectName, RouteKey, ServiceKey};
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// An HTTPRoute or GRPCRoute, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// `<kind>/<namespace>/<name>`
    pub key: RouteKey,
    /// Which kind of object it came from.
    pub kind: RouteKind,
    /// The object it came from.
    pub object: ObjectName,
    /// When the object was made, seconds since 1970: of equal matches the older wins.
    pub created: i64,
    /// Where the rules hold; never empty.
    pub attachments: Vec<Attachment>,
    /// In the user's order.
    pub rules: Vec<Rule>,
}

/// The kind of object a route came from; the two have different precedence rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteKind {
    /// HTTPRoute
    Http,
    /// GRPCRoute
    Grpc,
}

/// A place where a route's rules hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Attachment {
    /// A Gateway's listener.
    Listener {
        /// Which one.
        listener: ListenerKey,
        /// The hosts, already intersected with the listener's; empty means every host of the listener.
        hostnames: Vec<HostMatch>,
    },
    /// A Service (GAMMA).
    Service {
        /// Which one.
        service: ServiceKey,
        /// The Service port; none means every port.
        port: Option<u16>,
        /// Whose requests.
        audience: Audience,
    },
}

/// A hostname under which a route is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct HostMatch {
    /// What both listener and route cover.
    pub effective: HostnamePattern,
    /// What the route says: of two routes with one effective hostname the more specific original goes first.
    pub original: HostnamePattern,
}

/// Whose requests a Service-bound route takes (GEP-1294).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Audience {
    /// The route is in the Service's namespace: all clients.
    Producer,
    /// The route is in another namespace: that namespace's clients only.
    Consumer(Arc<str>),
}

/// A rule: any of the matches, then the filters, then one of the backends.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The name a user gave it.
    pub name: Option<Arc<str>>,
    /// Alternatives; never empty (a rule without matches takes the prefix `/`).
    pub matches: Vec<Match>,
    /// In the order they run.
    pub filters: Vec<Filter>,
    /// Chosen by weight; empty answers 500 unless a filter answers.
    pub backends: Vec<WeightedBackend>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// When and how often to try again; none means never.
    pub retry: Option<Retry>,
}

/// A backend and its share of the requests.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedBackend {
    /// The share, in proportion to the sum.
    pub weight: u32,
    /// Where to.
    pub target: BackendTarget,
    /// Run after the rule's filters, for this backend only.
    pub filters: Vec<Filter>,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
pub enum BackendTarget {
    /// A backend.
    Backend(BackendKey),
    /// A reference that leads nowhere: 500 for its share.
    Unresolved(Unresolved),
}

/// Why a backend reference leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No such object or port.
    NotFound,
    /// No ReferenceGrant allows it.
    NotPermitted,
    /// A kind Fairway does not route to.
    InvalidKind,
    /// The Service's protocol cannot be spoken.
    UnsupportedProtocol,
}

/// Time limits of a rule; none means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// From the request's head to the end of the response.
    pub request: Option<Duration>,
    /// For each try at a backend.
    pub backend_request: Option<Duration>,
}

/// When a request is tried again (GEP-1731).
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Tries after the first one.
    pub attempts: u32,
    /// Pause before a retry; none lets the proxy choose.
    pub backoff: Option<Duration>,
    /// Response codes that are tried again.
    pub codes: Vec<StatusCode>,
    /// Whether connection errors (refused, reset, disconnected before a response) are tried again.
    pub connection_errors: bool,
}
