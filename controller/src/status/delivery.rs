//! Whether what was compiled is in force at the proxies, and what that means for the status. Pure.

use super::enforcement::Enforcer;
use super::{reason, render};
use crate::resources::{Kind, ObjectRef};
use crate::serve::ProxyState;
use fairway_config::model::{Generation, ResourceKey, ResourceKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How far the proxies of one Gateway, or the tunnels, have come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Connected proxies that have a configuration. Others are not ready and get no traffic, so they are not waited for.
    pub ready: usize,
    /// What each of these has in force at least.
    pub acked: Generation,
    /// What one of them refused, and why.
    pub refused: BTreeMap<ResourceKey, String>,
    /// What one of them is too old to carry out, and why it is closed there.
    pub closed: BTreeMap<ResourceKey, String>,
}

/// Whether a Gateway's configuration is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Programming {
    InForce,
    /// Not yet; what is waited for.
    Pending(String),
}

/// What of the proxies' refusals concerns which object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    by_object: BTreeMap<ObjectRef, BTreeSet<String>>,
    /// By Gateway and listener.
    by_listener: BTreeMap<(ObjectRef, String), String>,
}

/// How far the proxies of each Gateway, and the tunnels, have come.
pub fn deliveries(states: &[ProxyState]) -> BTreeMap<Enforcer, Delivery> {
    let mut out = BTreeMap::<Enforcer, Delivery>::new();
    for state in states {
        let Some(enforcer) = Enforcer::of_proxy(&state.proxy) else { continue };
        let delivery = out.entry(enforcer).or_default();
        if state.acked > Generation::default() {
            delivery.acked = if delivery.ready == 0 { state.acked } else { delivery.acked.min(state.acked) };
            delivery.ready += 1;
        }
        delivery.refused.extend(state.rejected.iter().map(|it| (it.key.clone(), it.reason.clone())));
        delivery.closed.extend(state.closed.clone());
    }
    out
}

// === impl Delivery ===

impl Delivery {
    /// The resources of which one side is refused, or closed, and the other is not, or for another reason.
    pub fn differing(before: Option<&Self>, after: Option<&Self>) -> BTreeSet<ResourceKey> {
        let told = |it: Option<&Self>| -> BTreeSet<(ResourceKey, String)> {
            let told = it.into_iter().flat_map(|it| it.refused.iter().chain(&it.closed));
            told.map(|(key, why)| (key.clone(), why.clone())).collect()
        };
        told(before).symmetric_difference(&told(after)).map(|(key, _)| key.clone()).collect()
    }
}

// === impl Programming ===

impl Programming {
    /// Judges the proxies of an enforcer, whose resources changed last in the generation `required`. One without proxies stays
    /// in force for a while if it `was`: its proxies are on their way from the last controller, or reconnect.
    pub fn evaluate(
        enforcer: &Enforcer,
        delivery: Option<&Delivery>,
        required: Generation,
        was: bool,
        lost_briefly: bool,
    ) -> Self {
        match delivery.filter(|it| it.ready > 0) {
            Some(it) if it.acked >= required => Self::InForce,
            Some(it) => {
                let by = match (enforcer, it.ready) {
                    (Enforcer::Gateway(_), 1) => "by the Gateway's proxy".to_owned(),
                    (Enforcer::Gateway(_), more) => format!("by the Gateway's {more} proxies"),
                    (Enforcer::Tunnels, _) => "by the tunnel of every node".to_owned(),
                };
                Self::Pending(format!("the configuration has not been acknowledged yet {by}"))
            }
            None if was && lost_briefly => Self::InForce,
            None => Self::Pending(
                match enforcer {
                    Enforcer::Gateway(_) => {
                        "no proxy of the Gateway is connected yet; see the pods of its Deployment"
                    }
                    Enforcer::Tunnels => "no tunnel is connected yet; see the pods of DaemonSet ztunnel",
                }
                .to_owned(),
            ),
        }
    }
}

// === impl Refusals ===

impl Refusals {
    /// Finds the objects that refused resources come from.
    pub fn from_deliveries(deliveries: &BTreeMap<Enforcer, Delivery>) -> Self {
        let mut out = Self::default();
        let gateways = deliveries.iter().filter_map(|(it, delivery)| Some((it.gateway()?, delivery)));
        for (gateway, delivery) in gateways {
            let gateway = ObjectRef::from_name(Kind::Gateway, gateway);
            let refused = delivery.refused.iter().map(|(key, why)| {
                let said = format!(
                    "a proxy of {gateway} refuses {key}, and keeps its last valid version if it had one: {why}"
                );
                (key, said)
            });
            let closed = delivery
                .closed
                .iter()
                .map(|(key, why)| (key, format!("a proxy of {gateway} is older than the controller: {why}")));
            for (key, said) in refused.chain(closed) {
                if key.kind == ResourceKind::Listener
                    && let Some(listener) = key.name.splitn(3, '/').nth(2)
                {
                    out.by_listener.insert(owner_of(&gateway, listener), said);
                } else {
                    let object = route_of(key).unwrap_or(gateway.clone());
                    out.by_object.entry(object).or_default().insert(said);
                }
            }
        }
        out
    }

    /// What is refused, in words.
    pub fn messages(&self) -> impl Iterator<Item = String> {
        let of_listeners = self.by_listener.iter().map(|((object, _), why)| format!("{object}: {why}"));
        let of_objects = self
            .by_object
            .iter()
            .flat_map(|(object, whys)| whys.iter().map(move |why| format!("{object}: {why}")));
        of_listeners.chain(of_objects)
    }

    /// The objects whose refusals differ.
    pub fn differing(&self, other: &Self) -> BTreeSet<ObjectRef> {
        let objects = |refusals: &Self| {
            let listeners = refusals
                .by_listener
                .iter()
                .map(|((gateway, name), why)| (gateway.clone(), format!("{name} {why}")));
            let objects = refusals.by_object.iter().map(|(object, why)| (object.clone(), format!("{why:?}")));
            listeners.chain(objects).collect::<BTreeSet<_>>()
        };
        objects(self).symmetric_difference(&objects(other)).map(|(object, _)| object.clone()).collect()
    }
}

/// The route that a resource is made of. A route that serves Gateways and the mesh differently makes a second one, whose key
/// ends in `/mesh`.
fn route_of(key: &ResourceKey) -> Option<ObjectRef> {
    if !matches!(key.kind, ResourceKind::Route | ResourceKind::L4Route) {
        return None;
    }
    let mut parts = key.name.split('/');
    let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = Kind::ALL.into_iter().find(|it| it.as_str() == kind && it.as_route().is_some())?;
    Some(ObjectRef::new(kind, namespace, name))
}

/// Whose listener it is: `<listener>` is the Gateway's, `<namespace>/<name>/<listener>` a ListenerSet's.
fn owner_of(gateway: &ObjectRef, listener: &str) -> (ObjectRef, String) {
    let mut parts = listener.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(namespace), Some(set), Some(name)) => {
            (ObjectRef::new(Kind::ListenerSet, namespace, set), name.to_owned())
        }
        _ => (gateway.clone(), listener.to_owned()),
    }
}

/// Corrects a rendered status by what the proxies say: what they have not in force yet is not programmed.
pub fn apply(status: &mut Value, object: &ObjectRef, programming: &Programming, refusals: &Refusals) {
    if let Programming::Pending(message) = programming {
        render::conditions(status, &mut |it| pend(it, message));
    }
    for listener in render::list_mut(status, "listeners") {
        let name = listener["name"].as_str().unwrap_or_default().to_owned();
        if let Some(why) = refusals.by_listener.get(&(object.clone(), name)) {
            for it in render::list_mut(listener, "conditions").iter_mut().filter(|it| is_programmed(it)) {
                (it["status"], it["reason"], it["message"]) =
                    ("False".into(), reason::INVALID.into(), why.as_str().into());
            }
        }
    }
    unserved(status);
    if let Some(whys) = refusals.by_object.get(object) {
        let message = whys.iter().map(String::as_str).collect::<Vec<_>>().join("; ");
        add_refused(status, &message);
    }
}

/// What has listeners and serves none of them is not programmed.
fn unserved(status: &mut Value) {
    let holds = |holder: &Value| holder["conditions"].as_array().into_iter().flatten().any(is_programmed);
    let listeners = status["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
    if listeners.is_empty() || listeners.iter().any(holds) {
        return;
    }
    for it in render::list_mut(status, "conditions").iter_mut().filter(|it| is_programmed(it)) {
        (it["status"], it["reason"], it["message"]) = (
            "False".into(),
            reason::INVALID.into(),
            "no listener is served; see the conditions of the listeners".into(),
        );
    }
}

fn is_programmed(condition: &Value) -> bool {
    condition["type"] == reason::PROGRAMMED && condition["status"] == "True"
}

fn pend(condition: &mut Value, message: &str) {
    if is_programmed(condition) {
        (condition["status"], condition["reason"], condition["message"]) =
            ("False".into(), reason::PENDING.into(), message.into());
    }
}

/// Adds the condition of a refusal to a route's parents, or to a Gateway.
fn add_refused(status: &mut Value, message: &str) {
    let add = |conditions: &mut Vec<Value>| {
        let observed = conditions.first().map(|it| it["observedGeneration"].clone()).unwrap_or_default();
        conditions.push(json!({
            "type": reason::REFUSED,
            "status": "True",
            "reason": "Refused",
            "message": message,
            "observedGeneration": observed,
        }));
    };
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        add(conditions);
    }
    for parent in render::list_mut(status, "parents") {
        parent.get_mut("conditions").and_then(Value::as_array_mut).map(add);
    }
}

/// Whether a status says that its Gateway is programmed, for this generation of it.
pub fn says_programmed(current: &Value, ours: &Value) -> bool {
    let observed = |status: &Value| {
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.find(|it| is_programmed(it)).map(|it| it["observedGeneration"].clone())
    };
    let said = observed(current);
    said.is_some() && said == observed(ours)
}

/// Every message that is made here and in [`super::enforcement`], for the file of all messages.
#[cfg(test)]
pub(crate) fn every_message() -> BTreeSet<String> {
    use super::enforcement::{Enforcement, correct};
    use fairway_config::model::ObjectName;
    let gateway = ObjectName::new("shop", "public");
    let object = ObjectRef::from_name(Kind::Gateway, &gateway);
    let key = ResourceKey::new(ResourceKind::Route, "HTTPRoute/shop/r");
    let told = || BTreeMap::from([(key.clone(), "unknown field".to_owned())]);
    let ready = |ready| Delivery { ready, ..Delivery::default() };
    let deliveries = [
        None,
        Some(ready(1)),
        Some(ready(2)),
        Some(Delivery { refused: told(), acked: Generation(1), ..ready(1) }),
        Some(Delivery { closed: told(), acked: Generation(1), ..ready(1) }),
    ];
    let mut messages = BTreeSet::new();
    for (delivery, enforcer) in
        deliveries.iter().flat_map(|it| [(it, Enforcer::Gateway(gateway.clone())), (it, Enforcer::Tunnels)])
    {
        let programming = Programming::evaluate(&enforcer, delivery.as_ref(), Generation(1), false, false);
        let condition =
            |kind, reason| json!({ "type": kind, "status": "True", "reason": reason, "message": "" });
        let mut status = json!({ "conditions": [condition(reason::PROGRAMMED, reason::PROGRAMMED)] });
        if enforcer != Enforcer::Tunnels {
            apply(&mut status, &object, &programming, &Refusals::default());
        }
        status["parents"] = json!([{ "conditions": [condition(reason::ENFORCED, reason::BY_WAYPOINT)] }]);
        let enforcement = Enforcement { carriers: [key.clone()].into(), ..Enforcement::default() };
        let obstacle = enforcement.obstacle(&enforcer, delivery.as_ref(), &programming);
        let trouble = delivery.is_none().then_some("the quota is exceeded");
        correct(&mut status, 0, obstacle.as_ref(), trouble);
        messages.extend(described(&status).into_iter().filter(|it| it.contains(" is False ")));
    }
    let refused = Delivery { refused: told(), ..ready(1) };
    let refusals = Refusals::from_deliveries(&[(Enforcer::Gateway(gateway), refused)].into());
    let mut status = json!({ "parents": [{ "conditions": [] }] });
    let route = ObjectRef::new(Kind::HttpRoute, "shop", "r");
    apply(&mut status, &route, &Programming::InForce, &refusals);
    messages.extend(described(&status));
    messages
}

#[cfg(test)]
fn described(status: &Value) -> Vec<String> {
    let parents = status["parents"].as_array().into_iter().flatten();
    let holders = std::iter::once(status).chain(parents);
    let conditions = holders.flat_map(|it| it["conditions"].as_array().into_iter().flatten());
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let describe = |condition: &Value| {
        let [kind, status, reason, message] =
            ["type", "status", "reason", "message"].map(|it| text(condition, it));
        format!("{kind} is {status} ({reason}): {message}")
    };
    conditions.map(describe).collect()
}

#[cfg(test)]
mod tests;
