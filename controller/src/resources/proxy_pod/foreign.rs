//! What of a pod's spec is not of the pod of a proxy. Whoever may make pods may write any owner, label and service account; such a pod
//! gets what a proxy gets only if nobody but the proxy's own program gets at its token and at its keys.
//!
//! So nothing is taken that provisioning does not make, but for what API servers, schedulers and the agents of clouds add to every pod:
//! tokens under `/var/run/secrets/` and environment variables that command no program. The manifest is read, and not a type made from
//! it: a field that this version does not know is refused like any other.
//!
//! A pod that is a copy of ours in all of that is taken, whoever made it. It runs our program, with the rights, the token and the
//! volumes of the pod beside it, so its author has no more of it than of that one: the node that it is on, and what `pods/exec` and
//! `pods/ephemeralcontainers` give. The uids from its ReplicaSet to the Deployment would add that its author did not choose the node, at
//! the price of a right to read ReplicaSets of all namespaces.

use super::{CONTAINER, Flag, mounts, volumes};
use serde_json::Value;

/// Where others put tokens into every pod.
const TOKENS: &str = "/var/run/secrets/";
/// What the environment can do to a program: say what its flags do not, bring code into it, or lead its look-ups elsewhere. Those of the
/// C library are the ones that it ignores itself in a program with the rights of another user (ld.so(8)).
const COMMANDING: [&str; 18] = [
    "FAIRWAY_",
    "LD_",
    "GLIBC_",
    "GCONV_",
    "GETCONF_DIR",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "LOCPATH",
    "MALLOC_",
    "NIS_PATH",
    "NLSPATH",
    "RESOLV_",
    "RES_OPTIONS",
    "TMPDIR",
    "TZDIR",
    "RUST_",
    "TOKIO_",
    "SSL_CERT_",
];

/// The fields of a pod that provisioning writes, and those that others may write without getting at anything of the pod.
const POD_FIELDS: [&str; 29] = [
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "containers",
    "dnsPolicy",
    "enableServiceLinks",
    // Whoever may add debugging containers may run programs in the pods that provisioning makes, too.
    "ephemeralContainers",
    "hostUsers",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resources",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
];
/// With these a pod is in a namespace of its node, or its containers are in one of each other.
const NAMESPACES: [&str; 4] = ["hostIPC", "hostNetwork", "hostPID", "shareProcessNamespace"];
/// Who says where the controller is gets the token that is meant for it.
const NAMES: [&str; 6] =
    ["dnsConfig", "hostAliases", "hostname", "hostnameOverride", "setHostnameAsFQDN", "subdomain"];

const CONTAINER_FIELDS: [&str; 15] = [
    "args",
    "env",
    "image",
    "imagePullPolicy",
    "name",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "securityContext",
    "startupProbe",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeMounts",
    "livenessProbe",
];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
/// The file that the kubelet publishes in the pod's status when the container ends.
const TERMINATION_MESSAGE: &str = "/dev/termination-log";
const MOUNT_FIELDS: [&str; 4] = ["mountPath", "name", "readOnly", "recursiveReadOnly"];
/// What an API server fills in, and what may change from one version to the next.
const UNCOMPARED: [&str; 2] = ["defaultMode", "expirationSeconds"];

/// Where an `emptyDir` may be. Whatever a webhook makes of it, it is a directory of this pod alone.
const MEDIA: [&str; 2] = ["", "Memory"];

/// The first thing in a pod's spec that the pod of a proxy does not have.
pub(in crate::resources) fn foreign(spec: &Value) -> Option<String> {
    if let Some(it) = list(&spec["initContainers"]).next() {
        return Some(format!("the init container {}", text(&it["name"])));
    }
    let mut containers = list(&spec["containers"]);
    if let Some(it) = containers.find(|it| it["name"] != CONTAINER) {
        return Some(format!("the container {}", text(&it["name"])));
    }
    let mut fields = fields(spec);
    if fields.clone().any(|it| NAMESPACES.contains(&it)) {
        return Some("a namespace of its node".to_owned());
    }
    let resolves = spec["dnsPolicy"].is_null() || spec["dnsPolicy"] == "ClusterFirst";
    if !resolves || fields.clone().any(|it| NAMES.contains(&it)) {
        return Some("names of its own".to_owned());
    }
    if let Some(it) = fields.find(|it| !POD_FIELDS.contains(it)) {
        return Some(format!("the field spec.{it}"));
    }
    if spec["enableServiceLinks"] != false {
        return Some("the namespace's Services in its environment".to_owned());
    }
    let ours = as_json(&volumes(text(&spec["serviceAccountName"])));
    if let Some(it) = list(&spec["volumes"]).find(|it| !is_taken(it, &ours)) {
        return Some(format!("a volume {} that is not of a proxy", text(&it["name"])));
    }
    list(&spec["containers"]).find_map(foreign_in)
}

fn foreign_in(container: &Value) -> Option<String> {
    if PROBES.iter().any(|it| is_set(&container[it]["exec"])) {
        return Some("a probe that runs a program".to_owned());
    }
    if let Some(it) = fields(container).find(|it| !CONTAINER_FIELDS.contains(it)) {
        return Some(match it {
            "command" => "a command".to_owned(),
            "lifecycle" => "hooks".to_owned(),
            "envFrom" => "an environment from elsewhere".to_owned(),
            other => format!("the field {other} of its container"),
        });
    }
    let message = &container["terminationMessagePath"];
    if is_set(message) && message != TERMINATION_MESSAGE {
        return Some(format!("the termination message {}", text(message)));
    }
    if is_set(&container["resources"]["claims"]) {
        return Some("devices".to_owned());
    }
    let commands = |it: &&str| COMMANDING.iter().any(|prefix| it.starts_with(prefix));
    if let Some(it) = list(&container["env"]).map(|it| text(&it["name"])).find(commands) {
        return Some(format!("the environment variable {it}"));
    }
    let mut seen = Vec::new();
    for argument in list(&container["args"]).map(text) {
        match Flag::read(argument) {
            Some((flag, _)) if !seen.contains(&flag) => seen.push(flag),
            _ => return Some(format!("the argument {argument}")),
        }
    }
    let ours = as_json(&mounts());
    let is_ours = |it: &&Value| ours.iter().any(|ours| is_same_mount(it, ours));
    let is_token = |it: &&Value| {
        let path = text(&it["mountPath"]);
        path.starts_with(TOKENS) && !path.contains("..")
    };
    let is_plain = |it: &&Value| fields(it).all(|field| MOUNT_FIELDS.contains(&field));
    list(&container["volumeMounts"])
        .find(|it| !is_plain(it) || !(is_ours(it) || is_token(it)))
        .map(|it| format!("something mounted at {}", text(&it["mountPath"])))
}

/// Whether a volume is one of ours, or a projected one: the kubelet writes that into the memory of this pod, and nobody else reads it.
fn is_taken(volume: &Value, ours: &[Value]) -> bool {
    match ours.iter().find(|it| it["name"] == volume["name"]) {
        Some(ours) => compared(volume) == compared(ours),
        None => {
            fields(volume).all(|it| ["name", "projected"].contains(&it)) && volume["projected"].is_object()
        }
    }
}

fn is_same_mount(mount: &Value, ours: &Value) -> bool {
    mount["name"] == ours["name"]
        && text(&mount["mountPath"]).trim_end_matches('/') == text(&ours["mountPath"])
}

/// A volume without what is not compared.
fn compared(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept =
                fields.iter().filter(|(name, it)| !it.is_null() && !UNCOMPARED.contains(&name.as_str()));
            let kept = kept.map(|(name, it)| match name.as_str() {
                "emptyDir" => (name.clone(), without_limits(it)),
                _ => (name.clone(), compared(it)),
            });
            Value::Object(kept.collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(compared).collect()),
        other => other.clone(),
    }
}

/// An `emptyDir` without how large it may get, and without where it is if that is no place of others.
fn without_limits(directory: &Value) -> Value {
    let mut left = compared(directory);
    if let Some(fields) = left.as_object_mut() {
        fields.retain(|name, it| match name.as_str() {
            "sizeLimit" => false,
            "medium" => !MEDIA.contains(&text(it)),
            _ => true,
        });
    }
    left
}

fn as_json(ours: &[impl serde::Serialize]) -> Vec<Value> {
    // Our own types of plain data always can be written as JSON.
    ours.iter().map(|it| serde_json::to_value(it).unwrap_or_default()).collect()
}

/// The names of the fields that say something.
fn fields(value: &Value) -> impl Iterator<Item = &str> + Clone {
    value.as_object().into_iter().flatten().filter(|(_, it)| is_set(it)).map(|(name, _)| name.as_str())
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(it) => !it.is_empty(),
        Value::Array(it) => !it.is_empty(),
        // Of a volume, a probe or a policy an empty object says which it is.
        _ => true,
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> + Clone {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
