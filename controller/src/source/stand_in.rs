//! What stands in for an object that cannot be read, where no version of it ever could be.

mod route;

use super::schema;
use crate::diagnostic::Diagnostic;
use crate::resources::{Kind, Object, ObjectRef, Unread};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Of a policy that cannot be read its targets, and of a route its parents, hostnames and matches, as far as these can be read. Compiling
/// closes what the policy names, and answers the route's requests with an error: they must not fall to a wider rule.
///
/// Of a Gateway, a ListenerSet and a GatewayClass it says whose they are, and of GatewayParameters that they are there. What runs by them stays as it is:
/// after a restart of the controller it must not be taken for what nobody wants any more.
///
/// Of everything else it says that it is there, so that who refers to it is not told that it does not exist.
#[derive(Debug)]
pub(super) struct StandIn(Object);

impl StandIn {
    /// The one for a manifest. Of an object that closes nothing it says only that it is there.
    pub(super) fn for_manifest(object: &ObjectRef, written: &Value) -> Self {
        Self::that_closes(object, written)
            .unwrap_or_else(|| Self(Object::Unread(Arc::new(Unread::new(object)))))
    }

    fn that_closes(object: &ObjectRef, written: &Value) -> Option<Self> {
        let targets = &written["spec"]["targetRefs"];
        let spec = match object.kind {
            // Who writes one wants nothing sent to its Services in the clear, whatever else is wrong with it.
            Kind::BackendTlsPolicy => {
                json!({ "targetRefs": services(targets)?, "validation": { "hostname": "" } })
            }
            kind if kind.as_route().is_some() => route::spec(kind, &written["spec"])?,
            Kind::Gateway => {
                json!({ "gatewayClassName": written["spec"]["gatewayClassName"].as_str()?, "listeners": [] })
            }
            Kind::GatewayClass => json!({ "controllerName": written["spec"]["controllerName"].as_str()? }),
            Kind::GatewayParameters => json!({}),
            // It has no listeners: what it opens stays shut. It is there, so that what was said of it is not taken away.
            Kind::ListenerSet => json!({ "parentRef": written["spec"]["parentRef"], "listeners": [] }),
            // It closes them as well: without limits nobody can say what passes. What only observes closes nothing.
            Kind::RateLimitPolicy => json!({ "targetRefs": targets, "mode": written["spec"]["mode"] }),
            // Without it nobody can say who clients are, so it closes them, too.
            Kind::AuthenticationPolicy => json!({ "targetRefs": targets, "mode": written["spec"]["mode"] }),
            // Nobody can say what it asks for, so it closes its targets, and takes nothing from another policy.
            kind if Kind::POLICIES.contains(&kind) => json!({ "targetRefs": targets }),
            // What these open stays shut while they are not read.
            _ => return None,
        };
        let mut manifest = json!({ "metadata": metadata(object, &written["metadata"]), "spec": spec });
        if object.kind.as_route().is_some() {
            // For the defaults.
            schema::check(object.kind, &mut manifest);
        }
        Object::parse(object.kind, manifest).ok().map(Self)
    }

    /// The object, which says why the one that it stands for cannot be read.
    pub(super) fn because(mut self, error: &Diagnostic) -> Object {
        let why = match error.field.is_empty() {
            // What is wrong with a value may show the value, and who refers to a Secret writes this in a status.
            _ if self.0.kind() == Kind::Secret => format!("its field {} is not valid", error.field),
            true => error.message.clone(),
            false => format!("{}: {}", error.field, error.message),
        };
        self.0.set_unreadable(why.into());
        self.0
    }
}

/// Targets as whole Services, by the names that can be read.
fn services(targets: &Value) -> Option<Vec<Value>> {
    let target = |it: &Value| {
        let name = it["name"].as_str().filter(|it| !it.is_empty())?;
        Some(json!({ "group": "", "kind": "Service", "name": name }))
    };
    Some(targets.as_array()?.iter().filter_map(target).collect())
}

/// Of the metadata what conditions and the order of policies go by, as far as it can be read.
fn metadata(object: &ObjectRef, written: &Value) -> Map<String, Value> {
    let mut kept = Map::new();
    kept.insert("namespace".to_owned(), json!(object.namespace));
    kept.insert("name".to_owned(), json!(object.name));
    for (field, is_kept) in [
        ("uid", written["uid"].is_string()),
        ("creationTimestamp", written["creationTimestamp"].is_string()),
        ("generation", written["generation"].is_i64()),
    ] {
        if is_kept {
            kept.insert(field.to_owned(), written[field].clone());
        }
    }
    kept
}
