//! The labels that tell series apart, and the families they belong to.

use crate::outcome::{LimitDecision, Outcome, Plaintext, PolicyDecision, ResponseClass};
use fairway_config::model::{BackendKey, RouteKey};
use fairway_identity::SpiffeId;
use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

/// The value of every label of the series that takes what is beyond the budget.
pub const OTHER: &str = "other";

/// What a family of series has in common. Implemented by the labels that tell its series apart.
pub trait Family: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    /// What is counted, in the plural: `<NAME>_total`.
    const NAME: &'static str;
    /// What the counter counts, for `# HELP`.
    const HELP: &'static str;
    /// The names of the labels that tell its series apart.
    const LABELS: &'static [&'static str];
    /// The label whose values are [`Self::RESULTS`].
    const RESULT: &'static str;
    /// How a record can end; at most [`MAX_RESULTS`](crate::series::MAX_RESULTS).
    const RESULTS: &'static [&'static str];
    /// The singular, if there are also histograms of durations and counters of bytes: `<singular>_duration_seconds`,
    /// `<singular>_received_bytes_total` and `<singular>_sent_bytes_total`.
    const MEASURED: Option<&'static str>;

    /// The values of [`Self::LABELS`], in their order; empty where nothing is known.
    fn values(&self) -> Vec<Cow<'_, str>>;
}

/// A rule of a route: the name a user gave it, else its place, from 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RuleName {
    /// The field `name` of the rule.
    Named(Arc<str>),
    /// Its place in the route.
    Number(usize),
}

/// What a request was matched to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestLabels {
    /// The route and the rule that took it; none if none did.
    pub rule: Option<(RouteKey, RuleName)>,
    /// The backend that was chosen; none if none was.
    pub backend: Option<BackendKey>,
}

/// How a connection reached the proxy or tunnel that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A tunnel: opened by a pod of its node.
    Outbound,
    /// A tunnel: to a pod of its node, inside HBONE.
    Inbound,
    /// A tunnel: to a pod of its node, in plaintext.
    Plaintext,
    /// A Gateway's or waypoint's listener.
    Listener,
}

/// Who talks to whom in a connection of which only the bytes are known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionLabels {
    /// How it came to the proxy or tunnel.
    pub direction: Direction,
    /// The route that took it, if it came to a listener.
    pub route: Option<RouteKey>,
    /// The Service's port that it was for.
    pub backend: Option<BackendKey>,
    /// Who the client proved to be, where the tunnel knows it.
    pub client: Option<SpiffeId>,
    /// Who the server proved to be, where the tunnel knows it.
    pub server: Option<SpiffeId>,
}

/// Connections past the mesh's mTLS, by the namespace of the captured pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlaintextLabels {
    /// The namespace of the captured pod.
    pub namespace: Arc<str>,
}

/// A rule of a policy that says who may do what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyLabels {
    /// `<namespace>/<name>` of the policy.
    pub policy: Arc<str>,
    /// The rule that matched; none where the policy allows something and no rule of it matched.
    pub rule: Option<RuleName>,
}

/// A limit of a policy that says how often requests may come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LimitLabels {
    /// `<namespace>/<name>` of the policy.
    pub policy: Arc<str>,
    /// The limit: its name, or its place in the policy.
    pub limit: RuleName,
}

// === impl RuleName ===

impl RuleName {
    /// The rule at `index`, which may have a name.
    pub fn new(name: Option<&Arc<str>>, index: usize) -> Self {
        name.map_or(Self::Number(index), |it| Self::Named(it.clone()))
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Number(index) => fmt::Display::fmt(index, f),
        }
    }
}

// === impl RequestLabels ===

impl Family for RequestLabels {
    const NAME: &'static str = "requests";
    const HELP: &'static str = "Requests that have ended, by class of the response's status";
    const LABELS: &'static [&'static str] = &["route", "rule", "backend", "backend_port"];
    const RESULT: &'static str = "class";
    const RESULTS: &'static [&'static str] = &ResponseClass::LABELS;
    const MEASURED: Option<&'static str> = Some("request");

    fn values(&self) -> Vec<Cow<'_, str>> {
        let (route, rule) = match &self.rule {
            Some((route, rule)) => (Cow::from(route.as_str()), Cow::from(rule.to_string())),
            None => Default::default(),
        };
        let (backend, port) = split(self.backend.as_ref());
        vec![route, rule, backend.into(), port.into()]
    }
}

// === impl Direction ===

impl Direction {
    /// As metrics and logs have it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::Plaintext => "plaintext",
            Self::Listener => "listener",
        }
    }
}

// === impl ConnectionLabels ===

impl ConnectionLabels {
    /// Of a connection of which nothing but its way in is known.
    pub fn new(direction: Direction) -> Self {
        Self { direction, route: None, backend: None, client: None, server: None }
    }
}

impl Family for ConnectionLabels {
    const NAME: &'static str = "connections";
    const HELP: &'static str = "Connections that have ended, by how";
    const LABELS: &'static [&'static str] =
        &["direction", "route", "backend", "backend_port", "client_identity", "server_identity"];
    const RESULT: &'static str = "outcome";
    const RESULTS: &'static [&'static str] = &Outcome::LABELS;
    const MEASURED: Option<&'static str> = Some("connection");

    fn values(&self) -> Vec<Cow<'_, str>> {
        let route = self.route.as_ref().map(RouteKey::as_str).unwrap_or_default();
        let identity =
            |id: &'_ Option<SpiffeId>| id.as_ref().map(|it| it.as_str().to_owned()).unwrap_or_default();
        let (backend, port) = split(self.backend.as_ref());
        vec![
            self.direction.label().into(),
            route.into(),
            backend.into(),
            port.into(),
            identity(&self.client).into(),
            identity(&self.server).into(),
        ]
    }
}

// === impl PlaintextLabels ===

impl Family for PlaintextLabels {
    const NAME: &'static str = "plaintext_connections";
    const HELP: &'static str = "Connections past the mesh's mTLS, by the namespace of the captured pod";
    const LABELS: &'static [&'static str] = &["namespace"];
    const RESULT: &'static str = "kind";
    const RESULTS: &'static [&'static str] = &Plaintext::LABELS;
    const MEASURED: Option<&'static str> = None;

    fn values(&self) -> Vec<Cow<'_, str>> {
        vec![(&*self.namespace).into()]
    }
}

// === impl PolicyLabels ===

impl Family for PolicyLabels {
    const NAME: &'static str = "policy_decisions";
    const HELP: &'static str =
        "Requests and connections that a policy refuses, or would refuse if it were enforced";
    const LABELS: &'static [&'static str] = &["policy", "rule"];
    const RESULT: &'static str = "decision";
    const RESULTS: &'static [&'static str] = &PolicyDecision::LABELS;
    const MEASURED: Option<&'static str> = None;

    fn values(&self) -> Vec<Cow<'_, str>> {
        let rule = self.rule.as_ref().map(ToString::to_string).unwrap_or_default();
        vec![(&*self.policy).into(), rule.into()]
    }
}

// === impl LimitLabels ===

impl Family for LimitLabels {
    const NAME: &'static str = "rate_limit_decisions";
    const HELP: &'static str = "Requests that a limit refuses, or would refuse if it were enforced";
    const LABELS: &'static [&'static str] = &["policy", "limit"];
    const RESULT: &'static str = "decision";
    const RESULTS: &'static [&'static str] = &LimitDecision::LABELS;
    const MEASURED: Option<&'static str> = None;

    fn values(&self) -> Vec<Cow<'_, str>> {
        vec![(&*self.policy).into(), self.limit.to_string().into()]
    }
}

/// The Service of a backend, `<namespace>/<service>`, and its port.
pub(crate) fn split(backend: Option<&BackendKey>) -> (&str, &str) {
    let text = backend.map(BackendKey::as_str).unwrap_or_default();
    let (service, port) = text.rsplit_once(':').unwrap_or((text, ""));
    (service, port.split('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_named_by_its_service_and_port() {
        for (key, parts) in [
            ("shop/cart:80", ("shop/cart", "80")),
            ("shop/dns:53/udp", ("shop/dns", "53")),
            ("waypoint/shop/edge", ("waypoint/shop/edge", "")),
        ] {
            assert_eq!(split(Some(&key.into())), parts);
        }
        assert_eq!(split(None), ("", ""));
    }

    #[test]
    fn a_rule_is_named_by_its_name_or_its_place() {
        assert_eq!(RuleName::new(Some(&"canary".into()), 3).to_string(), "canary");
        assert_eq!(RuleName::new(None, 3).to_string(), "3");
    }
}
