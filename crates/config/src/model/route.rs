//! Rules bound to listeners or Services.

use super::capability::{of_filter, that_guards};
use super::reference::{of_authentication, of_authorization, of_limits, of_target};
use super::{
    AuthenticationKey, AuthorizationKey, BackendKey, Capabilities, Filter, HostnamePattern, ListenerKey,
    Match, ObjectName, RateLimitKey, References, Requires, ResourceKey, RouteKey, ServiceKey,
};
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// An HTTPRoute or GRPCRoute, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// `<kind>/<namespace>/<name>`: [`Self::kind`] with the name of [`Self::object`].
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
    /// An HTTPRoute: the precedence of its matches is by path, method, headers, query.
    Http,
    /// A GRPCRoute: the precedence of its matches is by service, method, headers.
    Grpc,
}

/// A place where a route's rules hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Attachment {
    /// A listener of a Gateway or a ListenerSet.
    Listener {
        /// The listener whose requests it takes.
        listener: ListenerKey,
        /// The hosts, already intersected with the listener's; empty means every host of the listener.
        hostnames: Vec<HostMatch>,
    },
    /// A Service, at a waypoint (GAMMA).
    Service {
        /// The Service whose requests it takes.
        service: ServiceKey,
        /// The Service port; none means every port.
        port: Option<u16>,
        /// Of which clients it takes them.
        audience: Audience,
    },
}

impl Attachment {
    /// The listener whose requests it takes; none for a Service.
    pub(super) fn listener(&self) -> Option<&ListenerKey> {
        match self {
            Self::Listener { listener, .. } => Some(listener),
            Self::Service { .. } => None,
        }
    }

    /// Those of these that are not at closed listeners.
    pub(super) fn at_open(attachments: &[Self], is_closed: impl Fn(&ListenerKey) -> bool) -> Vec<Self> {
        let is_open = |it: &&Self| it.listener().is_none_or(|key| !is_closed(key));
        attachments.iter().filter(is_open).cloned().collect()
    }
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
    /// How long the request and each try may take.
    pub timeouts: Timeouts,
    /// When and how often to try again; none means never.
    pub retry: Option<Retry>,
    /// Those that judge the requests of the rule. One that is not in the same snapshot denies.
    pub authorizations: Vec<AuthorizationKey>,
    /// Those that count the requests of the rule. One that is not in the same snapshot closes.
    pub limits: Vec<RateLimitKey>,
    /// How whoever asks for the rule has to say who it is. One that is not in the same snapshot closes.
    pub authentications: Vec<AuthenticationKey>,
}

/// A backend and its share of the requests.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedBackend {
    /// The share, in proportion to the sum.
    pub weight: u32,
    /// The backend that gets the share, or why there is none.
    pub target: BackendTarget,
    /// Run after the rule's filters, for this backend only.
    pub filters: Vec<Filter>,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
pub enum BackendTarget {
    /// This backend; whether it exists is seen when a request comes.
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
    /// Tries after the first one, at most [`Self::MOST_ATTEMPTS`]; 0 disables retries.
    pub attempts: u32,
    /// Pause before a retry; none lets the proxy choose.
    pub backoff: Option<Duration>,
    /// Response codes that are tried again.
    pub codes: Vec<StatusCode>,
    /// Whether connection errors (refused, reset, disconnected before a response) are tried again.
    pub connection_errors: bool,
}

// === impl Retry ===

impl Retry {
    /// As many retries are made of a request, however many a route asks for: each one is load on a backend that is in trouble.
    pub const MOST_ATTEMPTS: u32 = 10;
}

// === impl Route ===

impl References for Route {
    fn references(&self) -> Vec<ResourceKey> {
        let mut references = Vec::new();
        for rule in &self.rules {
            let targets = rule.backends.iter().map(|it| &it.target);
            references.extend(targets.chain(rule.filters().filter_map(Filter::target)).filter_map(of_target));
            references.extend(rule.authorizations.iter().map(of_authorization));
            references.extend(rule.limits.iter().map(of_limits));
            references.extend(rule.authentications.iter().map(of_authentication));
        }
        references
    }
}

impl Requires for Route {
    fn requires(&self) -> Capabilities {
        let mut required = Capabilities::NONE;
        self.rules.iter().for_each(|it| required.extend(it.requires().iter()));
        required
    }

    /// A rule with a filter that is not known, or with policies that cannot be judged, keeps what it matches and answers 500.
    /// Its requests do not fall to a wider rule.
    fn closed_for(&self, known: Capabilities) -> Option<Self> {
        let close = |rule: &Rule| {
            let missing = rule.requires().without(known);
            if missing == Capabilities::NONE {
                return rule.clone();
            }
            let reason = format!("this version of the proxy does not know {missing}");
            Rule {
                filters: vec![Filter::Unresolved(reason.into())],
                backends: vec![],
                authorizations: vec![],
                limits: vec![],
                authentications: vec![],
                ..rule.clone()
            }
        };
        Some(Self { rules: self.rules.iter().map(close).collect(), ..self.clone() })
    }
}

// === impl Rule ===

impl Rule {
    fn requires(&self) -> Capabilities {
        let mut required = that_guards(&self.authentications, &self.authorizations, &self.limits);
        required.extend(self.filters().map(of_filter));
        required
    }

    /// Its own filters, then those of its backends.
    fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.filters.iter().chain(self.backends.iter().flat_map(|it| &it.filters))
    }
}
