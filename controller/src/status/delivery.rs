//! Whether what was compiled is in force at the proxies, and what that means for the status. Pure.

use super::{reason, render};
use crate::resources::{Kind, ObjectRef};
use crate::serve::ProxyState;
use fairway_config::model::{Generation, ObjectName, ResourceKey, ResourceKind};
use fairway_config::stream::Proxy;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How far the proxies of one Gateway have come.
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

/// How far the proxies of each Gateway have come.
pub fn deliveries(states: &[ProxyState]) -> BTreeMap<ObjectName, Delivery> {
    let mut out = BTreeMap::<ObjectName, Delivery>::new();
    for state in states {
        let Proxy::Gateway(gateway) = &state.proxy else { continue };
        let delivery = out.entry(gateway.clone()).or_default();
        if state.acked > Generation::default() {
            delivery.acked = if delivery.ready == 0 { state.acked } else { delivery.acked.min(state.acked) };
            delivery.ready += 1;
        }
        delivery.refused.extend(state.rejected.iter().map(|it| (it.key.clone(), it.reason.clone())));
        delivery.closed.extend(state.closed.clone());
    }
    out
}

// === impl Programming ===

impl Programming {
    /// Judges a Gateway whose resources changed last in the generation `required`. A Gateway without proxies stays in
    /// force for a while if it `was`: its proxies are on their way from the last controller, or reconnect.
    pub fn evaluate(
        delivery: Option<&Delivery>,
        required: Generation,
        was: bool,
        lost_briefly: bool,
    ) -> Self {
        match delivery.filter(|it| it.ready > 0) {
            Some(it) if it.acked >= required => Self::InForce,
            Some(it) => Self::Pending(format!(
                "the configuration has not been acknowledged yet by the Gateway's {}",
                match it.ready {
                    1 => "proxy".to_owned(),
                    more => format!("{more} proxies"),
                }
            )),
            None if was && lost_briefly => Self::InForce,
            None => Self::Pending(
                "no proxy of the Gateway is connected yet; see the pods of its Deployment".to_owned(),
            ),
        }
    }
}

// === impl Refusals ===

impl Refusals {
    /// Finds the objects that refused resources come from.
    pub fn from_deliveries(deliveries: &BTreeMap<ObjectName, Delivery>) -> Self {
        let mut out = Self::default();
        for (gateway, delivery) in deliveries {
            let gateway = ObjectRef::of(Kind::Gateway, gateway);
            let refused = delivery.refused.iter().map(|(key, why)| {
                let said =
                    format!("a proxy of {gateway} refuses {key}, and keeps its last valid version: {why}");
                (key, said)
            });
            let closed = delivery
                .closed
                .iter()
                .map(|(key, why)| (key, format!("a proxy of {gateway} is older than the controller: {why}")));
            for (key, said) in refused.chain(closed) {
                let mut parts = key.name.splitn(3, '/');
                match (key.kind, parts.next(), parts.next(), parts.next()) {
                    (ResourceKind::Listener, Some(_), Some(_), Some(listener)) => {
                        out.by_listener.insert(owner_of(&gateway, listener), said);
                    }
                    (
                        ResourceKind::Route | ResourceKind::L4Route,
                        Some(kind),
                        Some(namespace),
                        Some(name),
                    ) => {
                        let route = Kind::ALL.into_iter().find(|it| it.as_str() == kind);
                        let route = route.map(|kind| ObjectRef::new(kind, namespace, name));
                        out.by_object.entry(route.unwrap_or(gateway.clone())).or_default().insert(said);
                    }
                    _ => {
                        out.by_object.entry(gateway.clone()).or_default().insert(said);
                    }
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

/// Corrects what a rendered status says of a route's parent: until the waypoint's proxies have the route, it is not enforced.
pub fn enforce(
    status: &mut Value,
    parent: usize,
    waypoint: &ObjectName,
    programming: &Programming,
    trouble: Option<&String>,
) {
    let Some(parent) = render::list_mut(status, "parents").get_mut(parent) else { return };
    let conditions = render::list_mut(parent, "conditions");
    let Some(it) = conditions.iter_mut().find(|it| it["type"] == reason::ENFORCED) else { return };
    if it["status"] == "True"
        && let Programming::Pending(why) = programming
    {
        (it["status"], it["reason"]) = ("False".into(), reason::NOT_ACKNOWLEDGED.into());
        it["message"] = format!("waypoint {waypoint} does not have the route yet: {why}").into();
    }
    if it["status"] == "False"
        && let Some(trouble) = trouble
    {
        let message = it["message"].as_str().unwrap_or_default();
        it["message"] = format!("{message}; the objects that it runs on cannot be made: {trouble}").into();
    }
}

/// Corrects what a rendered status says of a policy's ancestor: until its proxies have the policy, it is not programmed.
pub fn program(status: &mut Value, ancestor: usize, gateway: &ObjectName, programming: &Programming) {
    let Programming::Pending(why) = programming else { return };
    let Some(ancestor) = render::list_mut(status, "ancestors").get_mut(ancestor) else { return };
    for it in render::list_mut(ancestor, "conditions").iter_mut() {
        pend(it, &format!("Gateway {gateway} does not have the policy yet: {why}"));
    }
}

/// Whether a status says that its Gateway is programmed, for this generation of it.
pub fn says_programmed(current: &Value, ours: &Value) -> bool {
    says(current, ours, is_programmed)
}

/// Whether a status says that a route is enforced, for this generation of it.
pub fn says_enforced(current: &Value, ours: &Value) -> bool {
    says(current, ours, |it| it["type"] == reason::ENFORCED && it["status"] == "True")
}

fn says(current: &Value, ours: &Value, what: impl Fn(&Value) -> bool) -> bool {
    let find = |status| conditions(status).find(|it| what(it)).map(|it| &it["observedGeneration"]);
    find(current).is_some_and(|it| find(ours) == Some(it))
}

/// Those of an object, of a route's parents and of a policy's ancestors.
fn conditions(status: &Value) -> impl Iterator<Item = &Value> {
    let list = |name: &str| status[name].as_array().into_iter().flatten();
    let holders = std::iter::once(status).chain(list("parents")).chain(list("ancestors"));
    holders.flat_map(|it| it["conditions"].as_array().into_iter().flatten())
}

/// Every message that is made here, for the file of all messages.
#[cfg(test)]
pub(crate) fn every_message() -> BTreeSet<String> {
    let gateway = ObjectName::new("shop", "public");
    let mut messages = BTreeSet::new();
    let pending = |ready| Delivery { ready, ..Delivery::default() };
    for delivery in [None, Some(pending(1)), Some(pending(2))] {
        let programming = Programming::evaluate(delivery.as_ref(), Generation(1), false, false);
        let condition =
            |kind, reason| json!({ "type": kind, "status": "True", "reason": reason, "message": "" });
        let conditions = [condition(reason::PROGRAMMED, reason::PROGRAMMED)];
        let enforced = json!([{ "conditions": [condition(reason::ENFORCED, reason::BY_WAYPOINT)] }]);
        let mut status = json!({ "conditions": conditions, "parents": enforced });
        let object = ObjectRef::of(Kind::Gateway, &gateway);
        apply(&mut status, &object, &programming, &Refusals::default());
        enforce(&mut status, 0, &gateway, &programming, Some(&"the quota is exceeded".to_owned()));
        messages.extend(described(&status));
    }
    let key = ResourceKey::new(ResourceKind::Route, "HTTPRoute/shop/r");
    let refused = [(key, "unknown field".to_owned())].into();
    let refusals = Refusals::from_deliveries(&[(gateway, Delivery { refused, ..pending(1) })].into());
    let mut status = json!({ "parents": [{ "conditions": [] }] });
    let route = ObjectRef::new(Kind::HttpRoute, "shop", "r");
    apply(&mut status, &route, &Programming::InForce, &refusals);
    messages.extend(described(&status));
    messages
}

#[cfg(test)]
fn described(status: &Value) -> Vec<String> {
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let describe = |condition: &Value| {
        let [kind, status, reason, message] =
            ["type", "status", "reason", "message"].map(|it| text(condition, it));
        format!("{kind} is {status} ({reason}): {message}")
    };
    conditions(status).map(describe).collect()
}

#[cfg(test)]
mod tests;
