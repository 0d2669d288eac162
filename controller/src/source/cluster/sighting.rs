//! One object as the API server showed it, taken apart.

use super::offer::Endpoint;
use crate::compile::{Problem, Severity};
use crate::resources::{Gateway, Kind, Object, ObjectRef};
use crate::source::schema;
use crate::status::{Record, reason};
use serde_json::Value;
use std::sync::Arc;

/// One object as the API server showed it.
#[derive(Debug)]
pub(super) struct Sighting {
    /// Which one.
    pub(super) object: ObjectRef,
    /// Its resourceVersion: equal versions are equal objects.
    pub(super) version: Arc<str>,
    /// What it says, or why that cannot be understood.
    pub(super) content: Result<Object, Problem>,
    /// What the status writer needs of it; none for kinds without a status of ours.
    pub(super) record: Option<Arc<Record>>,
}

/// Takes an object apart; none when it does not even have a name.
pub(super) fn sight(endpoint: &Arc<Endpoint>, mut manifest: Value) -> Option<Sighting> {
    let kind = endpoint.kind;
    let metadata = manifest.get_mut("metadata")?.as_object_mut()?;
    // The largest part of most objects, and of no use here.
    metadata.remove("managedFields");
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default();
    let namespace = if kind.is_namespaced() { text("namespace") } else { "" };
    let object = ObjectRef::new(kind, namespace, text("name"));
    if object.name.is_empty() {
        return None;
    }
    let (version, uid): (Arc<str>, Arc<str>) = (text("resourceVersion").into(), text("uid").into());
    let mut bound = false;
    let record = has_status(kind).then(|| {
        // A Service's says things that compiling reads.
        let status = match kind {
            Kind::Service => manifest.get("status").cloned(),
            _ => manifest.get_mut("status").map(Value::take),
        };
        let status = status.filter(|it| !it.is_null());
        bound = kind == Kind::Gateway && status.as_ref().is_some_and(says_bound);
        Arc::new(Record {
            endpoint: endpoint.clone(),
            uid,
            version: version.clone(),
            status: status.map(|it| it.to_string().into_boxed_str()),
        })
    });
    let content = parse(&object, manifest).map(|it| match it {
        Object::Gateway(it) if bound => {
            Object::Gateway(Arc::new(Gateway { bound, ..Arc::unwrap_or_clone(it) }))
        }
        it => it,
    });
    Some(Sighting { object, version, content, record })
}

/// Whether a Gateway's status says that traffic has been moved to the waypoint.
fn says_bound(status: &Value) -> bool {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|it| it["type"] == reason::BOUND && it["status"] == "True")
}

/// The kinds whose status we may have to write.
fn has_status(kind: Kind) -> bool {
    kind == Kind::Service || (kind.group().starts_with("gateway.networking.") && kind != Kind::ReferenceGrant)
}

/// The server has checked it against the CRD that is installed, which may be newer than what we know: a matcher that is
/// not known must refuse the route and not widen it, so it is checked against ours as well.
fn parse(object: &ObjectRef, mut manifest: Value) -> Result<Object, Problem> {
    let violations = schema::check(object.kind, &mut manifest);
    if let Some(first) = violations.into_iter().next() {
        return Err(problem(object, first.field, first.message, first.remedy));
    }
    let parsed = Object::parse(object.kind, manifest);
    parsed.map_err(|error| problem(object, error.field, error.reason, "correct it".to_owned()))
}

fn problem(object: &ObjectRef, field: String, message: String, remedy: String) -> Problem {
    Problem { severity: Severity::Error, object: object.clone(), field, message, remedy }
}
