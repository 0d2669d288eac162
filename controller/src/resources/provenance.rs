//! Whether a pod is what Fairway makes. Whoever may make pods may give them any service account, label and owner; but not let
//! a pod of another program, or with somebody else beside ours, look like one of ours.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, VolumeMount};
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

const PART_OF: &str = "app.kubernetes.io/part-of";
const FAIRWAY: &str = "fairway";

/// The proxy's container, and where it has its volumes.
const CONTAINER: &str = "waypoint";
const MOUNTS: [(&str, &str); 3] = [
    ("roots", "/var/run/fairway.dev/roots"),
    ("token", "/var/run/fairway.dev/token"),
    ("state", "/var/lib/fairway"),
];
const ROOTS: &str = "--controller-roots=/var/run/fairway.dev/roots/";
const STATE: &str = "--state-file=/var/lib/fairway/";
const CONTROLLER: &str = "--controller=";
/// Where others put tokens into every pod.
const TOKENS: &str = "/var/run/secrets/";
/// What the environment can do to a program: bring code into it, or say what its flags do not.
const COMMANDING: [&str; 4] = ["LD_", "GLIBC_", "GCONV_", "FAIRWAY_"];

// === impl Provenance ===

impl Provenance {
    /// Reads a pod; none where it does not say that it is of ours.
    pub fn read(pod: &Pod) -> Option<Self> {
        let labels = pod.metadata.labels.as_ref()?;
        if labels.get(PART_OF).map(String::as_str) != Some(FAIRWAY) {
            return None;
        }
        let mut owners = pod.metadata.owner_references.iter().flatten();
        let controller = owners
            .find(|it| it.controller == Some(true) && it.api_version.starts_with("apps/"))
            .map(|it| Controller { kind: it.kind.as_str().into(), name: it.name.as_str().into() });
        let spec = pod.spec.as_ref()?;
        let images = spec.containers.iter().filter_map(|it| it.image.as_deref()).map(Arc::from).collect();
        let mut arguments = spec.containers.iter().flat_map(|it| it.args.iter().flatten());
        let told = arguments.find_map(|it| it.strip_prefix(CONTROLLER)).map(Arc::from);
        Some(Self { controller, images, told, foreign: foreign(spec).map(Arc::from) })
    }
}

/// What of a pod a proxy does not have, though it gets at its token or at its keys. Debugging containers are not among it:
/// whoever may add them may run programs in the pod anyway.
fn foreign(spec: &PodSpec) -> Option<String> {
    if let Some(it) = spec.init_containers.iter().flatten().next() {
        return Some(format!("the init container {}", it.name));
    }
    if let Some(it) = spec.containers.iter().find(|it| it.name != CONTAINER) {
        return Some(format!("the container {}", it.name));
    }
    if spec.host_pid == Some(true) || spec.host_network == Some(true) || spec.host_ipc == Some(true) {
        return Some("a namespace of its node".to_owned());
    }
    // Who says where the controller is gets the token that is meant for it.
    let names = spec.dns_policy.as_deref().is_none_or(|it| it == "ClusterFirst");
    if !names || spec.dns_config.is_some() || spec.host_aliases.iter().flatten().next().is_some() {
        return Some("names of its own".to_owned());
    }
    for volume in spec.volumes.iter().flatten() {
        let is_ours = match volume.name.as_str() {
            "roots" => volume
                .config_map
                .as_ref()
                .is_some_and(|it| Some(&it.name) == spec.service_account_name.as_ref()),
            "token" => volume.projected.is_some(),
            "state" => volume.empty_dir.is_some(),
            _ => true,
        };
        if !is_ours {
            return Some(format!("another volume as {}", volume.name));
        }
    }
    spec.containers.iter().find_map(foreign_in)
}

fn foreign_in(container: &Container) -> Option<String> {
    if container.command.is_some() {
        return Some("a command".to_owned());
    }
    if container.lifecycle.is_some() {
        return Some("hooks".to_owned());
    }
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    if probes.into_iter().flatten().any(|it| it.exec.is_some()) {
        return Some("a probe that runs a program".to_owned());
    }
    if container.env_from.is_some() {
        return Some("an environment from elsewhere".to_owned());
    }
    let commands = |it: &str| COMMANDING.iter().any(|prefix| it.starts_with(prefix));
    if let Some(it) = container.env.iter().flatten().find(|it| commands(&it.name)) {
        return Some(format!("the environment variable {}", it.name));
    }
    let arguments = container.args.iter().flatten();
    let is_strange = |argument: &&String| {
        let elsewhere = |flag, ours: &str| argument.starts_with(flag) && !argument.starts_with(ours);
        !argument.starts_with("--")
            || argument.starts_with("--admin")
            || elsewhere("--state-file", STATE)
            || elsewhere("--controller-roots", ROOTS)
    };
    if let Some(it) = arguments.into_iter().find(is_strange) {
        return Some(format!("the argument {it}"));
    }
    let mounts = container.volume_mounts.iter().flatten();
    mounts
        .into_iter()
        .find(|it| !is_our_mount(it))
        .map(|it| format!("something mounted at {}", it.mount_path))
}

fn is_our_mount(mount: &VolumeMount) -> bool {
    MOUNTS.contains(&(mount.name.as_str(), mount.mount_path.trim_end_matches('/')))
        || (mount.mount_path.starts_with(TOKENS) && !mount.mount_path.contains(".."))
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
                "volumes": [
                    {"name": "state", "emptyDir": {}}, {"name": "token", "projected": {}},
                    {"name": "roots", "configMap": {"name": "g-fairway"}},
                ],
            },
        })
    }

    fn read(pod: &Value) -> Option<Provenance> {
        Provenance::read(&serde_json::from_value(pod.clone()).unwrap())
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
            ("/spec/volumes/2", json!({"name": "roots", "configMap": {"name": "mine"}}), "volume as roots"),
            ("/spec/volumes/0", json!({"name": "state", "hostPath": {"path": "/x"}}), "volume as state"),
            (
                "/spec/volumes/0",
                json!({"name": "state", "persistentVolumeClaim": {"claimName": "x"}}),
                "volume as state",
            ),
            ("/spec/containers/0/command", json!(["sh"]), "a command"),
            ("/spec/containers/0/lifecycle", json!({"preStop": {"exec": {"command": ["x"]}}}), "hooks"),
            ("/spec/containers/0/livenessProbe", json!({"exec": {"command": ["x"]}}), "runs a program"),
            ("/spec/containers/0/envFrom", json!([]), "environment from elsewhere"),
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
