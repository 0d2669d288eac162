//! Which proxies enforce a route on a Service or a policy, and what its condition `fairway.dev/Enforced` says until they
//! have it. Pure.
//!
//! Compiling says `True` where nothing but the proxies' acknowledgement is missing, and who has to acknowledge
//! ([`Enforcement`]). The status writer turns it (and `Programmed`, if a policy of ours has that) to `False` until each ready proxy of these has acknowledged the commit in
//! which one of the resources last changed, and while one refuses such a resource.

use super::delivery::{Delivery, Programming};
use super::{reason, render};
use crate::resources::{ObjectRef, RouteKind};
use fairway_config::model::{ObjectName, ResourceKey, ResourceKind};
use fairway_config::stream::Proxy;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Whose proxies enforce an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Enforcer {
    /// The proxies of a Gateway, which may be a waypoint.
    Gateway(ObjectName),
    /// The tunnels of all nodes. Those that do not have the object's resources acknowledge without them.
    Tunnels,
}

/// What has to be in force, and at whose proxies, until an object is enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enforcement {
    /// The resources by which the object takes effect.
    pub carriers: BTreeSet<ResourceKey>,
    /// Who has to have them.
    pub by: BTreeSet<Enforcer>,
}

/// Why an object is not enforced yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    pub reason: &'static str,
    pub message: String,
}

// === impl Enforcer ===

impl Enforcer {
    /// Those to which a proxy belongs; none for one that runs the whole system.
    pub fn of_proxy(proxy: &Proxy) -> Option<Self> {
        match proxy {
            Proxy::Gateway(gateway) => Some(Self::Gateway(gateway.clone())),
            Proxy::Node(_) => Some(Self::Tunnels),
            Proxy::Everything => None,
        }
    }

    /// The Gateway; none for tunnels.
    pub fn gateway(&self) -> Option<&ObjectName> {
        match self {
            Self::Gateway(gateway) => Some(gateway),
            Self::Tunnels => None,
        }
    }

    /// One of its proxies, in words.
    fn proxy(&self) -> String {
        match self {
            Self::Gateway(gateway) => format!("a proxy of Gateway {gateway}"),
            Self::Tunnels => "the tunnel of a node".to_owned(),
        }
    }
}

impl fmt::Display for Enforcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(gateway) => write!(f, "Gateway {gateway}"),
            Self::Tunnels => f.write_str("the mesh"),
        }
    }
}

// === impl Enforcement ===

impl Enforcement {
    /// For a route on a Service: its two resources carry it, and the waypoint enforces it.
    pub fn of_route(route: &ObjectRef, kind: RouteKind, waypoint: &ObjectName) -> Self {
        let kind = if kind.as_l7().is_some() { ResourceKind::Route } else { ResourceKind::L4Route };
        let key = format!("{}/{}/{}", route.kind, route.namespace, route.name);
        let for_mesh = ResourceKey::new(kind, format!("{key}/mesh"));
        Self {
            carriers: BTreeSet::from([ResourceKey::new(kind, key), for_mesh]),
            by: BTreeSet::from([Enforcer::Gateway(waypoint.clone())]),
        }
    }

    /// What keeps an enforcer with this delivery from enforcing the object; `programming` is about the commit in which it last
    /// changed.
    pub fn obstacle(
        &self,
        enforcer: &Enforcer,
        delivery: Option<&Delivery>,
        programming: &Programming,
    ) -> Option<Obstacle> {
        if let Programming::Pending(why) = programming {
            let message = format!("{enforcer} does not have this version yet: {why}");
            return Some(Obstacle { reason: reason::NOT_ACKNOWLEDGED, message });
        }
        let delivery = delivery?;
        let of_this = |refused: &BTreeMap<ResourceKey, String>| {
            self.carriers.iter().find_map(|it| refused.get(it).cloned())
        };
        if let Some(why) = of_this(&delivery.refused) {
            let proxy = enforcer.proxy();
            let message =
                format!("{proxy} refuses it, and keeps its last valid version if it had one: {why}");
            return Some(Obstacle { reason: reason::REFUSED_BY_PROXY, message });
        }
        let why = of_this(&delivery.closed)?;
        let message = format!("{} is older than the controller: {why}", enforcer.proxy());
        Some(Obstacle { reason: reason::NOT_SUPPORTED, message })
    }
}

/// Whether a condition of a route's parent or a policy's ancestor is about what its proxies have.
fn tells_enforcement(condition: &Value) -> bool {
    condition["type"] == reason::ENFORCED || condition["type"] == reason::PROGRAMMED
}

/// The list of a status whose entries say who enforces the object.
fn entries(status: &Value) -> &'static str {
    if status["ancestors"].is_array() { "ancestors" } else { "parents" }
}

/// Corrects what a rendered status says of one parent or ancestor. `trouble` is why the enforcer cannot be made.
pub fn correct(status: &mut Value, position: usize, obstacle: Option<&Obstacle>, trouble: Option<&str>) {
    let list = entries(status);
    let Some(entry) = render::list_mut(status, list).get_mut(position) else { return };
    let conditions = render::list_mut(entry, "conditions");
    let Some(it) = conditions.iter_mut().find(|it| tells_enforcement(it)) else { return };
    if it["status"] == "True"
        && let Some(Obstacle { reason, message }) = obstacle
    {
        (it["status"], it["reason"], it["message"]) =
            ("False".into(), (*reason).into(), message.as_str().into());
    }
    if it["status"] == "False"
        && let Some(trouble) = trouble
    {
        let message = it["message"].as_str().unwrap_or_default();
        it["message"] = format!("{message}; the objects that it runs on cannot be made: {trouble}").into();
    }
}

/// Whether a status says that an object is enforced for one parent or ancestor of ours, for this generation of it.
pub fn says_enforced(current: &Value, ours: &Value, position: usize) -> bool {
    let list = entries(ours);
    let wanted = &ours[list][position];
    let is_same = |it: &&Value| {
        ["parentRef", "ancestorRef", "controllerName"].iter().all(|field| it[*field] == wanted[*field])
    };
    let observed = |entry: &Value| {
        let conditions = entry["conditions"].as_array().into_iter().flatten();
        let mut enforced = conditions.filter(|it| tells_enforcement(it) && it["status"] == "True");
        enforced.next().map(|it| it["observedGeneration"].clone())
    };
    let said = current[list].as_array().into_iter().flatten().find(is_same).and_then(observed);
    said.is_some() && said == observed(wanted)
}

#[cfg(test)]
mod tests;
