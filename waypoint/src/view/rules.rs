//! Rules, backends and endpoints as the admin port shows them.

use crate::route::{self, RuleEntry};
use crate::stage::StageList;
use crate::upstream::cluster::Cluster;
use fairway_balance::{EndpointRecord, Health, Moment};
use fairway_config::model::{BackendKey, BackendTarget};
use serde::Serialize;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::sync::Arc;

/// An alternative of a rule.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleShown {
    /// The key of its route.
    pub route: String,
    /// From 0, as in the status of the route.
    pub rule: usize,
    /// The name that a user gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the alternative matches.
    #[serde(rename = "match")]
    pub matched: String,
    /// What is done to its requests.
    pub stages: Vec<StageShown>,
    /// Where its requests go.
    pub backends: Vec<BackendShown>,
    /// How long a request may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<String>,
    /// How long a backend may take for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request_timeout: Option<String>,
    /// How often it is tried again.
    pub retries: u32,
}

/// What is done to requests by one filter or policy.
#[derive(Clone, Debug, Serialize)]
pub struct StageShown {
    /// The name of the stage.
    pub stage: &'static str,
    /// What it does, in words.
    pub does: String,
}

/// A backend of a rule.
#[derive(Clone, Debug, Serialize)]
pub struct BackendShown {
    /// The key of the backend.
    pub backend: String,
    /// Its weight among those of its rule.
    pub weight: u32,
    /// What is done to requests that go there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageShown>,
}

/// A backend and its endpoints.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterShown {
    /// The key of the backend.
    pub backend: String,
    /// What is spoken there.
    pub protocol: String,
    /// Whether TLS is set up with it.
    pub tls: bool,
    /// The waypoint through which alone its endpoints are reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// That waypoint, and what is named in the CONNECT to it.
    #[serde(skip)]
    pub via: Option<(BackendKey, SocketAddr)>,
    /// The endpoints that are shown.
    pub endpoints: Vec<EndpointShown>,
}

/// An endpoint, and how it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointShown {
    /// Its address and port.
    pub address: SocketAddr,
    /// Who it has to prove to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// One of `healthy`, `ejected` and `half-open`.
    pub health: &'static str,
    /// How many requests it has now.
    pub requests_in_flight: u32,
    /// Smoothed; none if it has not been measured lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<f64>,
}

// === impl RuleShown ===

impl RuleShown {
    pub(super) fn new(entry: &RuleEntry<'_>) -> Self {
        let rule = entry.rule();
        let backends = rule.backends.iter().enumerate().map(|(index, backend)| BackendShown {
            backend: describe_target(&backend.target),
            weight: backend.weight,
            stages: entry.backend(index).and_then(|it| it.stages).map(describe_stages).unwrap_or_default(),
        });
        let seconds = |limit: std::time::Duration| format!("{limit:?}");
        Self {
            route: entry.route().key.to_string(),
            rule: entry.index(),
            name: rule.name.as_ref().map(ToString::to_string),
            matched: route::describe(entry.matched()),
            stages: describe_stages(entry.stages()),
            backends: backends.collect(),
            request_timeout: rule.timeouts.request.map(seconds),
            backend_request_timeout: rule.timeouts.backend_request.map(seconds),
            retries: rule.retry.as_ref().map_or(0, |retry| retry.attempts),
        }
    }

    /// `HTTPRoute/shop/web rule 1`, and its name if it has one.
    pub(super) fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{} rule {} ({name})", self.route, self.rule),
            None => format!("{} rule {}", self.route, self.rule),
        }
    }
}

impl Display for RuleShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "      {}: {}", self.matched, self.title())?;
        for stage in &self.stages {
            writeln!(f, "        stage {stage}")?;
        }
        for backend in &self.backends {
            writeln!(f, "        backend {} weight {}", backend.backend, backend.weight)?;
            for stage in &backend.stages {
                writeln!(f, "          stage {stage}")?;
            }
        }
        Ok(())
    }
}

impl Display for StageShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.does)
    }
}

// === impl ClusterShown ===

impl ClusterShown {
    pub(super) fn new(cluster: &Cluster, now: Moment) -> Self {
        Self::of(cluster, cluster.endpoints(), now)
    }

    /// With those of its endpoints, or of the waypoint before it, among which one client's is chosen.
    pub(super) fn of_candidates(cluster: &Cluster, candidates: &[Arc<EndpointRecord>], now: Moment) -> Self {
        Self::of(cluster, candidates.iter(), now)
    }

    fn of<'e>(
        cluster: &Cluster,
        endpoints: impl Iterator<Item = &'e Arc<EndpointRecord>>,
        now: Moment,
    ) -> Self {
        Self {
            backend: cluster.key().to_string(),
            protocol: format!("{:?}", cluster.protocol()),
            tls: cluster.is_secured(),
            through: cluster.via().map(|(waypoint, _)| waypoint.to_string()),
            via: cluster.via().cloned(),
            endpoints: endpoints.map(|record| EndpointShown::new(record, now)).collect(),
        }
    }
}

impl Display for ClusterShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { ", TLS" } else { "" };
        writeln!(f, "  {} ({}{tls})", self.backend, self.protocol)?;
        if let Some(waypoint) = &self.through {
            writeln!(f, "    through waypoint {waypoint}")?;
        }
        self.endpoints.iter().try_for_each(|endpoint| writeln!(f, "    {endpoint}"))
    }
}

// === impl EndpointShown ===

impl EndpointShown {
    pub(super) fn new(record: &Arc<EndpointRecord>, now: Moment) -> Self {
        Self {
            address: record.address(),
            identity: record.identity().map(ToString::to_string),
            health: match record.health(now) {
                Health::Healthy => "healthy",
                Health::Ejected => "ejected",
                Health::CheckDue | Health::ProbeDue => "half-open",
            },
            requests_in_flight: record.active(),
            latency_seconds: Some(record.latency(now).as_secs_f64()).filter(|it| *it > 0.0),
        }
    }
}

impl Display for EndpointShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {} requests in flight", self.address, self.health, self.requests_in_flight)?;
        if let Some(latency) = self.latency_seconds {
            write!(f, ", latency {latency:.6} s")?;
        }
        self.identity.iter().try_for_each(|identity| write!(f, ", {identity}"))
    }
}

pub(super) fn describe_target(target: &BackendTarget) -> String {
    match target {
        BackendTarget::Backend(key) => key.to_string(),
        BackendTarget::Unresolved(why) => format!("not resolved ({why:?}): answers 500"),
    }
}

pub(super) fn describe_stages(stages: &StageList) -> Vec<StageShown> {
    stages.describe().into_iter().map(|(stage, does)| StageShown { stage, does }).collect()
}
