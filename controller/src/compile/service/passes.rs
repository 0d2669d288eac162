//! Which waypoints connections to a Service pass, and what its status says of that.

use crate::compile::waypoint::Waypoint;
use crate::resources::{Kind, ObjectRef, Service};
use crate::status::{Condition, ObjectStatus, ServiceStatus, reason};
use fairway_config::model::{BackendKey, ConsumerWaypoint, ObjectName};
use std::sync::Arc;

/// The waypoints that something asks for on the way to a Service.
pub(in crate::compile) struct Passes<'a> {
    /// That of the Service's own namespace, if the Service needs it.
    pub waypoint: Option<&'a Arc<Waypoint>>,
    /// Whether the Service is reached through it only, from the first moment.
    pub required: bool,
    /// Whether connections went through one before: they do not go around the one that comes after it.
    pub before: bool,
    /// Those of other namespaces.
    pub consumers: &'a [Consumer],
    /// Where it is not enforced that the Service is reached through its waypoint only, if somewhere.
    pub not_enforced: Option<String>,
}

/// A namespace with routes of its own for a Service.
pub(in crate::compile) struct Consumer {
    pub namespace: Arc<str>,
    /// On these ports; none is all.
    pub ports: Vec<u16>,
    pub waypoint: Arc<Waypoint>,
    /// Whether its connections went through one before.
    pub before: bool,
}

// === impl Passes ===

impl Passes<'_> {
    /// The waypoint that everybody passes.
    pub(in crate::compile) fn waypoint(&self) -> Option<BackendKey> {
        self.waypoint.filter(|it| self.is_bound(it) || self.required).map(|it| it.key.clone())
    }

    fn is_bound(&self, waypoint: &Waypoint) -> bool {
        waypoint.bound || self.before
    }

    /// The waypoints that only clients of their namespace pass.
    pub(in crate::compile) fn consumer_waypoints(&self) -> Vec<ConsumerWaypoint> {
        let bound = self.consumers.iter().filter(|it| it.is_bound());
        let waypoint = |it: &Consumer| ConsumerWaypoint {
            namespace: it.namespace.clone(),
            ports: it.ports.clone(),
            waypoint: it.waypoint.key.clone(),
        };
        bound.map(waypoint).collect()
    }

    /// What the Service says of it; nothing where nobody asks for a waypoint.
    pub(in crate::compile) fn status(
        &self,
        service: &Service,
        name: &ObjectName,
    ) -> Option<(ObjectRef, ObjectStatus)> {
        let mut parts = Vec::new();
        if let Some(it) = self.waypoint {
            parts.push(match (self.is_bound(it), self.required) {
                (true, _) => format!("connections pass through waypoint {}", it.gateway),
                (false, true) => {
                    format!("waypoint {} is not ready yet; until it is, connections are refused", it.gateway)
                }
                (false, false) => format!(
                    "waypoint {} is not ready yet; until it is, connections pass without it",
                    it.gateway
                ),
            });
        }
        parts.extend(self.consumers.iter().map(|consumer| {
            let Consumer { namespace, ports, waypoint, .. } = consumer;
            let gateway = &waypoint.gateway;
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            let ports = if ports.is_empty() { String::new() } else { format!(" to port {}", ports.join(", ")) };
            match consumer.is_bound() {
                true => format!("those from namespace {namespace}{ports} pass through waypoint {gateway}"),
                false => format!("those from namespace {namespace}{ports} will pass through waypoint {gateway} when it is ready"),
            }
        }));
        if parts.is_empty() {
            return None;
        }
        parts.extend(self.not_enforced.clone());
        // Where there is a waypoint for everybody it is about that one alone: that it is bound is read again, and must not be
        // forgotten for a consumer's that is not ready.
        let (bound, by) = match self.waypoint {
            Some(it) => (self.is_bound(it), reason::BY_WAYPOINT),
            None => (self.consumers.iter().all(Consumer::is_bound), reason::BY_CONSUMER_WAYPOINT),
        };
        let (kind, message, generation) =
            (reason::THROUGH_WAYPOINT, parts.join("; "), service.meta.generation);
        let condition = match bound {
            true => Condition::holds(kind, by, message, generation),
            false => Condition::fails(kind, reason::PENDING, message, generation),
        };
        let status = ServiceStatus { conditions: vec![condition] };
        Some((ObjectRef::from_name(Kind::Service, name), ObjectStatus::Service(status)))
    }
}

// === impl Consumer ===

impl Consumer {
    fn is_bound(&self) -> bool {
        self.waypoint.bound || self.before
    }
}
