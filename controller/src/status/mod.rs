//! What a cluster would show of an object's fate: conditions with the API's own types and reasons.
//!
//! Compiling makes these, purely. In a cluster a [`StatusCache`] holds them beside what the objects say now, and the replica
//! that leads writes the difference ([`Writer`]): [`merge`] keeps what others wrote and the times of transitions,
//! [`delivery`] holds `Programmed` back until the proxies have acknowledged, [`enforcement`] does so with
//! `fairway.dev/Enforced`, `Pace` keeps the writes few.

pub(crate) mod condition;
pub mod delivery;
pub mod enforcement;
mod merge;
mod pace;
pub mod reason;
mod record;
mod render;
mod status_cache;
mod transitions;
mod writer;

#[cfg(test)]
pub(crate) use self::{
    merge::{Author, merge},
    render::references,
};
pub use condition::{Condition, ConditionStatus};
pub use enforcement::{Enforcement, Enforcer};
pub use record::Record;
pub use render::render;
pub use status_cache::{StatusCache, StatusChanges};
pub use writer::Writer;

use crate::resources::{AssignedAddress, ObjectRef, RouteKind};
use fairway_config::model::ObjectName;
use std::sync::Arc;

/// What is written into `status` of an object, by kind.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum ObjectStatus {
    GatewayClass(ClassStatus),
    Gateway(GatewayStatus),
    ListenerSet(ListenerSetStatus),
    /// Of a route of any kind.
    Route(RouteStatus),
    /// Of a policy of any kind.
    Policy(PolicyStatus),
    Mesh(ClassStatus),
    Service(ServiceStatus),
    /// Of an object of ours of which nothing can be said now, since what it depends on cannot be read: what was written stays.
    Held,
}

/// The status of a GatewayClass, and of an XMesh.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassStatus {
    pub conditions: Vec<Condition>,
    /// What its Gateways, or the mesh, can do, in order (GEP-2162, GEP-3949).
    pub supported_features: Vec<&'static str>,
}

/// Conditions, addresses and listeners of a Gateway, as `GatewayStatus` of the API.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Where it is reached.
    pub addresses: Vec<AssignedAddress>,
    /// How many ListenerSets add to it; none while it cannot be read: what was written stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<u32>,
    pub conditions: Vec<Condition>,
    /// Of each listener, in the user's order; none while the Gateway cannot be read: what was written stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<ListenerStatus>>,
}

/// What we say in the status of a Service.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ServiceStatus {
    /// Which waypoints connections to it go through.
    pub conditions: Vec<Condition>,
}

/// Conditions and listeners of a ListenerSet, as `ListenerSetStatus` of the API.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetStatus {
    pub conditions: Vec<Condition>,
    /// Of each listener, in the user's order.
    pub listeners: Vec<ListenerStatus>,
    /// Whether its Gateway is not there. Whose ListenerSet it is depends on its Gateway, so this is only said of one that was ours.
    #[serde(skip)]
    pub is_orphan: bool,
}

/// An entry of `status.listeners`: conditions, accepted kinds of routes, and how many routes are attached.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    pub name: Arc<str>,
    /// The kinds of routes it takes.
    #[serde(serialize_with = "kinds")]
    pub supported_kinds: Vec<RouteKind>,
    /// How many accepted routes are attached.
    pub attached_routes: u32,
    pub conditions: Vec<Condition>,
}

/// Conditions of a route for each of its parents, as `RouteStatus` of the API.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// One for each parentRef that is ours.
    pub parents: Vec<ParentStatus>,
    /// The parentRefs to what is ours and cannot be read: what was written of them stays.
    #[serde(skip)]
    pub held: Vec<ParentRef>,
}

/// A route's status with one parent.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// The parentRef as the user wrote it.
    pub parent_ref: ParentRef,
    pub controller_name: Arc<str>,
    pub conditions: Vec<Condition>,
    /// The waypoint that has to enforce the route, for a Service.
    #[serde(skip)]
    pub waypoint: Option<ObjectName>,
}

/// Conditions of a policy for each of its ancestors (GEP-713), as `PolicyStatus` of the API.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// One for each Gateway of ours that it has to do with; at most 16.
    pub ancestors: Vec<AncestorStatus>,
    /// Ancestors that are ours and cannot be read: what was written of them stays.
    #[serde(skip)]
    pub held: Vec<ParentRef>,
    /// How many more there are, for which the API leaves no room.
    #[serde(skip)]
    pub left_out: usize,
}

/// A policy's status with one Gateway.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AncestorStatus {
    pub ancestor_ref: ParentRef,
    pub controller_name: Arc<str>,
    pub conditions: Vec<Condition>,
    /// Who enforces the policy for this ancestor; with nobody in it the conditions are true as they are.
    #[serde(skip)]
    pub enforcement: Enforcement,
}

/// A reference to a parent, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Arc<str>>,
    pub name: Arc<str>,
    /// The section within it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<Arc<str>>,
    /// The port within it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

fn kinds<S: serde::Serializer>(kinds: &[RouteKind], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(kinds.iter().map(|it| crate::resources::Kind::of_route(*it).as_str()))
}

// === impl ObjectStatus ===

impl ObjectStatus {
    /// Who has to enforce the object, for each of a route's parents or a policy's ancestors: by its position in the list.
    pub fn enforcements(&self, object: &ObjectRef) -> Vec<(usize, Enforcement)> {
        match self {
            Self::Route(it) => {
                let Some(kind) = object.kind.as_route() else { return Vec::new() };
                let parents = it.parents.iter().enumerate().filter_map(|(position, parent)| {
                    let waypoint = parent.waypoint.as_ref()?;
                    Some((position, Enforcement::of_route(object, kind, waypoint)))
                });
                parents.collect()
            }
            Self::Policy(it) => {
                let ancestors = it.ancestors.iter().map(|it| it.enforcement.clone()).enumerate();
                ancestors.filter(|(_, it)| !it.by.is_empty()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The parents or ancestors of which nothing can be said now: what was written of them stays.
    pub fn held(&self) -> &[ParentRef] {
        match self {
            Self::Route(it) => &it.held,
            Self::Policy(it) => &it.held,
            _ => &[],
        }
    }

    /// The generation of the object that the status is about.
    pub fn observed_generation(&self) -> Option<i64> {
        self.conditions().into_iter().map(|(_, condition)| condition.observed_generation).max()
    }

    /// Every condition with the part of the object it is about: empty for the whole, `listener https`,
    /// `parent Gateway edge/public`.
    pub fn conditions(&self) -> Vec<(String, &Condition)> {
        let mut out = Vec::new();
        match self {
            Self::GatewayClass(it) | Self::Mesh(it) => {
                out.extend(it.conditions.iter().map(|it| (String::new(), it)))
            }
            Self::Service(it) => out.extend(it.conditions.iter().map(|it| (String::new(), it))),
            Self::Gateway(it) => {
                out.extend(it.conditions.iter().map(|it| (String::new(), it)));
                out.extend(it.listeners.iter().flatten().flat_map(ListenerStatus::named_conditions));
            }
            Self::ListenerSet(it) => {
                out.extend(it.conditions.iter().map(|it| (String::new(), it)));
                out.extend(it.listeners.iter().flat_map(ListenerStatus::named_conditions));
            }
            Self::Held => {}
            Self::Route(it) => {
                for parent in &it.parents {
                    out.extend(
                        parent.conditions.iter().map(|it| (format!("parent {}", parent.parent_ref), it)),
                    );
                }
            }
            Self::Policy(it) => {
                for ancestor in &it.ancestors {
                    let of = format!("ancestor {}", ancestor.ancestor_ref);
                    out.extend(ancestor.conditions.iter().map(|it| (of.clone(), it)));
                }
            }
        }
        out
    }
}

impl ListenerStatus {
    fn named_conditions(&self) -> impl Iterator<Item = (String, &Condition)> {
        self.conditions.iter().map(|it| (format!("listener {}", self.name), it))
    }
}

impl ListenerSetStatus {
    /// The status of a ListenerSet whose Gateway is not there: as the API has it before a controller has looked.
    pub fn orphan(gateway: &ObjectName, generation: i64) -> Self {
        let unknown = |kind| {
            let message = format!("Gateway {gateway} does not exist");
            Condition::unknown(kind, reason::PENDING, message, generation)
        };
        let conditions = vec![unknown(reason::ACCEPTED), unknown(reason::PROGRAMMED)];
        Self { conditions, listeners: Vec::new(), is_orphan: true }
    }
}

impl std::fmt::Display for ParentRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind.as_deref().unwrap_or("Gateway"))?;
        f.write_str(" ")?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)?;
        if let Some(section) = &self.section_name {
            write!(f, " section {section}")?;
        }
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        Ok(())
    }
}
