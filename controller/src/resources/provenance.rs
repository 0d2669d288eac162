//! Whether a pod is what Fairway makes. Whoever may make pods may give them any service account, label and owner; but not let
//! a pod of another program, or with somebody else beside ours, look like one of ours: `proxy_pod` says what one of ours has.

use super::proxy_pod::{self, Flag};
use serde_json::Value;
use std::sync::Arc;

/// What of a pod says whether it is one that Fairway made; kept of those that say they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Who looks after the pod.
    pub controller: Option<Controller>,
    /// The images of its containers.
    pub images: Vec<Arc<str>>,
    /// The controller to which it shows its token.
    pub told: Option<Arc<str>>,
    /// What of it a proxy that Fairway makes does not have, if there is something.
    pub foreign: Option<Arc<str>>,
}

/// The object that looks after a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Its kind; of the group `apps`.
    pub kind: Arc<str>,
    /// The name of the owner, such as that of a ReplicaSet.
    pub name: Arc<str>,
}

/// The label that everything of Fairway has, and its value.
pub(crate) const PART_OF: &str = "app.kubernetes.io/part-of";
pub(crate) const FAIRWAY: &str = "fairway";

// === impl Provenance ===

impl Provenance {
    /// Reads the manifest of a pod; none where it does not say that it is of ours.
    pub fn read(pod: &Value) -> Option<Self> {
        let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
        if metadata["labels"][PART_OF] != FAIRWAY {
            return None;
        }
        let text = |it: &Value| Arc::from(it.as_str().unwrap_or_default());
        let mut owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        let is_controller = |it: &&Value| {
            it["controller"] == true && it["apiVersion"].as_str().is_some_and(|it| it.starts_with("apps/"))
        };
        let controller = owners
            .find(is_controller)
            .map(|it| Controller { kind: text(&it["kind"]), name: text(&it["name"]) });
        let containers = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut arguments = containers.iter().filter_map(|it| it["args"].as_array()).flatten();
        let told = arguments.find_map(|it| match Flag::read(it.as_str()?) {
            Some((Flag::Controller, url)) => Some(url.into()),
            _ => None,
        });
        Some(Self {
            controller,
            images: containers.iter().map(|it| text(&it["image"])).collect(),
            told,
            foreign: proxy_pod::foreign(spec).map(Arc::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod() -> Value {
        json!({
            "metadata": {
                "labels": {"app.kubernetes.io/part-of": "fairway"},
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "g-fairway-5d9", "uid": "r", "controller": true},
                ],
            },
            "spec": {
                "containers": [{
                    "name": "waypoint", "image": "waypoint:1",
                    "args": ["--controller=https://c:1", "--state-file=/var/lib/fairway/state"],
                    "env": [{"name": "NODE_NAME"}, {"name": "DD_AGENT_HOST"}],
                    "volumeMounts": [
                        {"name": "token", "mountPath": "/var/run/fairway.dev/token"},
                        {"name": "state", "mountPath": "/var/lib/fairway"},
                        {"name": "aws", "mountPath": "/var/run/secrets/eks.amazonaws.com/serviceaccount"},
                    ],
                }],
                "serviceAccountName": "g-fairway",
                "enableServiceLinks": false,
                "volumes": [
                    {"name": "state", "emptyDir": {}},
                    {"name": "token", "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken":
                        {"audience": "fairway.dev", "expirationSeconds": 3600, "path": "token"}}]}},
                    {"name": "roots", "configMap": {"name": "g-fairway", "defaultMode": 420}},
                    {"name": "aws", "projected": {"sources": [{"serviceAccountToken":
                        {"audience": "sts.amazonaws.com", "path": "token"}}]}},
                ],
            },
        })
    }

    fn read(pod: &Value) -> Option<Provenance> {
        Provenance::read(pod)
    }

    #[test]
    fn a_proxy_says_who_looks_after_it_and_what_it_runs() {
        let read = read(&pod()).unwrap();
        let controller = Controller { kind: "ReplicaSet".into(), name: "g-fairway-5d9".into() };
        assert_eq!(
            read,
            Provenance {
                controller: Some(controller),
                images: vec!["waypoint:1".into()],
                told: Some("https://c:1".into()),
                foreign: None
            }
        );
    }

    #[test]
    fn of_others_nothing_is_kept() {
        let mut other = pod();
        other["metadata"]["labels"] = json!({"app": "bank"});
        assert_eq!(read(&other), None);
    }

    #[test]
    fn an_owner_that_does_not_control_it_is_none() {
        for (field, value) in [("controller", json!(false)), ("apiVersion", json!("evil/v1"))] {
            let mut other = pod();
            other["metadata"]["ownerReferences"][0][field] = value;
            assert_eq!(read(&other).unwrap().controller, None);
        }
    }

    #[test]
    fn whatever_gets_at_the_token_or_the_keys_is_named() {
        for (pointer, value, named) in [
            ("/spec/initContainers", json!([{"name": "thief"}]), "init container thief"),
            ("/spec/containers/0/name", json!("thief"), "container thief"),
            ("/spec/hostPID", json!(true), "namespace of its node"),
            ("/spec/hostNetwork", json!(true), "namespace of its node"),
            ("/spec/dnsPolicy", json!("None"), "names of its own"),
            ("/spec/dnsConfig", json!({"nameservers": ["10.0.0.1"]}), "names of its own"),
            (
                "/spec/hostAliases",
                json!([{"ip": "10.0.0.1", "hostnames": ["fairway-controller"]}]),
                "names of its own",
            ),
            ("/spec/volumes/2", json!({"name": "roots", "configMap": {"name": "mine"}}), "volume roots"),
            ("/spec/volumes/0", json!({"name": "state", "hostPath": {"path": "/x"}}), "volume state"),
            (
                "/spec/volumes/0",
                json!({"name": "state", "persistentVolumeClaim": {"claimName": "x"}}),
                "volume state",
            ),
            ("/spec/containers/0/command", json!(["sh"]), "a command"),
            ("/spec/containers/0/lifecycle", json!({"preStop": {"exec": {"command": ["x"]}}}), "hooks"),
            ("/spec/containers/0/livenessProbe", json!({"exec": {"command": ["x"]}}), "runs a program"),
            (
                "/spec/containers/0/envFrom",
                json!([{"configMapRef": {"name": "x"}}]),
                "environment from elsewhere",
            ),
            ("/spec/containers/0/env/0", json!({"name": "LD_PRELOAD", "value": "/x"}), "LD_PRELOAD"),
            (
                "/spec/containers/0/env/0",
                json!({"name": "FAIRWAY_ADMIN", "value": "0.0.0.0:1"}),
                "FAIRWAY_ADMIN",
            ),
            ("/spec/containers/0/args/0", json!("--admin=0.0.0.0:15000"), "--admin"),
            ("/spec/containers/0/args/1", json!("--state-file=/x/state"), "--state-file=/x"),
            (
                "/spec/containers/0/args/1",
                json!("--controller-roots=/var/run/secrets/x"),
                "--controller-roots",
            ),
            ("/spec/containers/0/args/1", json!("state"), "argument state"),
            ("/spec/containers/0/volumeMounts/2/mountPath", json!("/usr/local/bin"), "/usr/local/bin"),
            (
                "/spec/containers/0/volumeMounts/2/mountPath",
                json!("/var/run/secrets/../../../usr/local/bin"),
                "mounted",
            ),
            ("/spec/containers/0/volumeMounts/1/name", json!("shared"), "mounted at /var/lib/fairway"),
        ] {
            let mut other = pod();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            match (other.pointer_mut(parent).unwrap(), field.parse::<usize>()) {
                (Value::Array(list), Ok(index)) => list[index] = value,
                (into, _) => into[field] = value,
            }
            let foreign = read(&other).unwrap().foreign.unwrap_or_default();
            assert!(foreign.contains(named), "{pointer}: {foreign}");
        }
        let mut beside = pod();
        beside["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "sidecar"}));
        assert!(read(&beside).unwrap().foreign.is_some());
    }
}
