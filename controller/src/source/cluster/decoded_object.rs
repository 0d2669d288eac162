//! One object as the API server showed it, taken apart.

use crate::compile::CONTROLLER_NAME;
use crate::diagnostic::Diagnostic;
use crate::resources::ApiResource;
use crate::resources::{Kind, Object, ObjectRef};
use crate::source::schema;
use crate::source::stand_in::StandIn;
use crate::status::{Record, reason};
use serde_json::Value;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::sync::Arc;

/// One object as the API server showed it.
#[derive(Debug)]
pub(super) struct DecodedObject {
    pub(super) object: ObjectRef,
    /// What tells whether it is as it was. Equal versions alone do not: a server from a backup counts them again.
    pub(super) fingerprint: u64,
    /// What it says, or why that cannot be understood.
    pub(super) content: Result<Object, Unreadable>,
    /// What the status writer and Events need of it; none for kinds that they have nothing to do with.
    pub(super) record: Option<Arc<Record>>,
}

/// An object that cannot be understood.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) problem: Diagnostic,
    /// Takes its place if no version of it was ever understood.
    pub(super) stand_in: Object,
}

/// Takes an object apart; none when it does not even have a name.
pub(super) fn decode(api_resource: &Arc<ApiResource>, mut manifest: Value) -> Option<DecodedObject> {
    let kind = api_resource.kind;
    let metadata = manifest.get_mut("metadata")?.as_object_mut()?;
    // The largest part of most objects, and of no use here.
    metadata.remove("managedFields");
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default();
    let namespace = if kind.is_namespaced() { text("namespace") } else { "" };
    let object = ObjectRef::new(kind, namespace, text("name"));
    let (version, uid): (Arc<str>, Arc<str>) = (text("resourceVersion").into(), text("uid").into());
    if object.name.is_empty() {
        return None;
    }
    let fingerprint = fingerprint(&manifest);
    let mut word = None;
    let record = is_recorded(kind).then(|| {
        // A Service's says things that compiling reads.
        let status = match kind {
            Kind::Service => manifest.get("status").cloned(),
            _ => manifest.get_mut("status").map(Value::take),
        };
        let status = status.filter(|it| !it.is_null());
        word = status.as_ref().and_then(|it| own_word(kind, it));
        Arc::new(Record {
            api_resource: api_resource.clone(),
            uid,
            version,
            status: status.map(|it| it.to_string().into_boxed_str()),
        })
    });
    let mut content = parse(&object, manifest);
    if let Some(word) = word {
        match &mut content {
            Ok(it) => remember(it, word),
            Err(it) => remember(&mut it.stand_in, word),
        }
    }
    Some(DecodedObject { object, fingerprint, content, record })
}

/// A hash of everything in it, uid and resourceVersion included. Lists of Kubernetes' own kinds leave out what a watch shows of each
/// object: its kind.
fn fingerprint(manifest: &Value) -> u64 {
    struct Sink(DefaultHasher);
    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Sink(DefaultHasher::new());
    for (name, value) in manifest.as_object().into_iter().flatten() {
        if !["apiVersion", "kind"].contains(&name.as_str()) {
            // Neither a JSON value nor the sink can fail.
            let _ = serde_json::to_writer(&mut sink, &(name, value));
        }
    }
    sink.0.finish()
}

/// What we have said in a status so that it is remembered, and compiling goes by.
#[derive(Clone, Copy)]
enum OwnWord {
    /// Traffic has been moved to this waypoint.
    Bound,
    /// Connections to this Service go through one.
    ThroughWaypoint,
    /// Those that pass this route do, or are refused.
    Enforced,
}

fn own_word(kind: Kind, status: &Value) -> Option<OwnWord> {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let holds = |what: &str| conditions.iter().find(|it| it["type"] == what && it["status"] == "True");
    match kind {
        Kind::Gateway => holds(reason::BOUND).map(|_| OwnWord::Bound),
        Kind::Service => holds(reason::THROUGH_WAYPOINT)
            .filter(|it| it["reason"] == reason::BY_WAYPOINT)
            .map(|_| OwnWord::ThroughWaypoint),
        _ if kind.as_route().is_some() => {
            let parents = status["parents"].as_array().into_iter().flatten();
            let parents = parents.filter(|it| it["controllerName"] == CONTROLLER_NAME);
            let mut conditions = parents.flat_map(|it| it["conditions"].as_array().into_iter().flatten());
            let is_enforced = |it: &Value| {
                it["type"] == reason::ENFORCED && (it["status"] == "True" || it["reason"] != reason::PENDING)
            };
            conditions.any(is_enforced).then_some(OwnWord::Enforced)
        }
        _ => None,
    }
}

fn remember(object: &mut Object, word: OwnWord) {
    match (object, word) {
        (Object::Gateway(it), OwnWord::Bound) => Arc::make_mut(it).bound = true,
        (Object::Service(it), OwnWord::ThroughWaypoint) => Arc::make_mut(it).through_waypoint = true,
        (Object::HttpRoute(it), OwnWord::Enforced) => Arc::make_mut(it).meta.enforced = true,
        (Object::GrpcRoute(it), OwnWord::Enforced) => Arc::make_mut(it).meta.enforced = true,
        (Object::TlsRoute(it), OwnWord::Enforced) => Arc::make_mut(it).meta.enforced = true,
        (Object::TcpRoute(it), OwnWord::Enforced) => Arc::make_mut(it).meta.enforced = true,
        _ => {}
    }
}

/// The kinds whose status we may have to write, and those of which there may be versions that we do not understand: their
/// Events name the uid.
fn is_recorded(kind: Kind) -> bool {
    kind == Kind::Service
        || ["gateway.networking.", "fairway.dev"].iter().any(|it| kind.group().starts_with(it))
}

/// The server has checked it against the CRD that is installed, which may be newer than what we know: a matcher that is
/// not known must refuse the route and not widen it, so it is checked against ours as well.
fn parse(object: &ObjectRef, mut manifest: Value) -> Result<Object, Unreadable> {
    let stand_in = StandIn::for_manifest(object, &manifest);
    let first = schema::check(object.kind, &mut manifest).into_iter().next();
    let parsed = match first {
        Some(error) => Err(error),
        None => Object::parse(object.kind, manifest).map_err(Diagnostic::from),
    };
    parsed.map_err(|error| {
        let problem = error.about(object);
        Unreadable { stand_in: stand_in.because(&problem), problem }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(kind: Kind, plural: &str, spec: Value, status: &Value) -> Object {
        let api_resource = ApiResource { kind, version: kind.versions()[0].into(), plural: plural.into() };
        let manifest =
            json!({ "metadata": { "namespace": "shop", "name": "it" }, "spec": spec, "status": status });
        decode(&Arc::new(api_resource), manifest).unwrap().content.unwrap()
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({ "type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" })
    }

    #[test]
    fn an_object_is_as_it_was_whether_it_is_listed_or_watched() {
        let listed =
            json!({ "metadata": { "name": "it", "uid": "u-1", "resourceVersion": "7" }, "spec": { "a": 1 } });
        let mut watched = listed.clone();
        (watched["apiVersion"], watched["kind"]) = (json!("v1"), json!("Service"));
        assert_eq!(fingerprint(&listed), fingerprint(&watched));
        for (path, value) in [
            ("/metadata/uid", json!("u-2")),
            ("/metadata/resourceVersion", json!("8")),
            ("/spec/a", json!(2)),
            ("/spec", json!({})),
        ] {
            let mut other = watched.clone();
            *other.pointer_mut(path).unwrap() = value;
            assert_ne!(fingerprint(&listed), fingerprint(&other), "{path}");
        }
    }

    #[test]
    fn our_own_word_in_a_status_is_remembered_and_no_other_is() {
        for (kind, status, why, bound, through) in [
            (reason::BOUND, "True", reason::HAS_BEEN_READY, true, false),
            (reason::BOUND, "False", reason::PENDING, false, false),
            (reason::THROUGH_WAYPOINT, "True", reason::BY_WAYPOINT, false, true),
            (reason::THROUGH_WAYPOINT, "False", reason::BY_WAYPOINT, false, false),
            // Only of consumers' routes: it says nothing about the first of the Service's own.
            (reason::THROUGH_WAYPOINT, "True", reason::BY_CONSUMER_WAYPOINT, false, false),
        ] {
            let said = json!({ "conditions": [condition(kind, status, why)] });
            let listeners = json!([{ "name": "mesh", "port": 15008, "protocol": "HBONE" }]);
            let gateway = json!({ "gatewayClassName": "fairway-waypoint", "listeners": listeners });
            let Object::Gateway(gateway) = seen(Kind::Gateway, "gateways", gateway, &said) else { panic!() };
            let service = json!({ "ports": [{ "port": 80 }] });
            let Object::Service(service) = seen(Kind::Service, "services", service, &said) else { panic!() };
            assert_eq!((gateway.bound, service.through_waypoint), (bound, through), "{said}");
        }
    }

    #[test]
    fn a_route_that_was_enforced_is_known_by_its_status() {
        for (kind, status, why, expected) in [
            (reason::ENFORCED, "True", reason::BY_WAYPOINT, true),
            // Its waypoint has gone, or has not its last change.
            (reason::ENFORCED, "False", reason::WAYPOINT_GONE, true),
            (reason::ENFORCED, "False", reason::NOT_ACKNOWLEDGED, true),
            (reason::ENFORCED, "False", reason::PENDING, false),
            (reason::ACCEPTED, "True", reason::ACCEPTED, false),
        ] {
            let parent = json!({
                "parentRef": { "group": "", "kind": "Service", "name": "web" },
                "controllerName": "fairway.dev/controller",
                "conditions": [condition(kind, status, why)],
            });
            let said = json!({ "parents": [parent] });
            for (kind, plural, spec) in [
                (Kind::HttpRoute, "httproutes", json!({})),
                (Kind::GrpcRoute, "grpcroutes", json!({})),
                (
                    Kind::TcpRoute,
                    "tcproutes",
                    json!({ "rules": [{ "backendRefs": [{ "name": "web", "port": 80 }] }] }),
                ),
            ] {
                assert_eq!(seen(kind, plural, spec, &said).meta().enforced, expected, "{kind} {said}");
            }
        }
    }
}
