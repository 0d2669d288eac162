//! PodSecurity `restricted`, as the Pod Security Standards have it.

use serde_json::{Value, json};

const SAFE_SYSCTLS: [&str; 9] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
];
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What of a pod's spec `restricted` does not allow.
pub(super) fn violations(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            found.push(what.to_owned());
        }
    };
    for it in ["hostNetwork", "hostPID", "hostIPC"] {
        must(pod[it] != true, it);
    }
    for it in items(&pod["volumes"]) {
        let kinds = it.as_object().unwrap().keys().filter(|key| *key != "name");
        must(kinds.into_iter().all(|kind| VOLUMES.contains(&kind.as_str())), "volumes");
    }
    let of_pod = &pod["securityContext"];
    for it in items(&of_pod["sysctls"]) {
        must(SAFE_SYSCTLS.contains(&it["name"].as_str().unwrap()), "sysctls");
    }
    must(of_pod["runAsUser"] != 0, "runAsUser");
    for container in ["containers", "initContainers"].iter().flat_map(|it| items(&pod[*it])) {
        let own = &container["securityContext"];
        let or_pod = |field: &str| if own[field].is_null() { &of_pod[field] } else { &own[field] };
        must(own["privileged"] != true, "privileged");
        must(own["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation");
        must(*or_pod("runAsNonRoot") == true, "runAsNonRoot");
        must(own["runAsUser"] != 0, "runAsUser");
        let seccomp = &or_pod("seccompProfile")["type"];
        must(seccomp == "RuntimeDefault" || seccomp == "Localhost", "seccompProfile");
        must(own["capabilities"]["drop"] == json!(["ALL"]), "capabilities.drop");
        must(
            items(&own["capabilities"]["add"]).iter().all(|it| it == "NET_BIND_SERVICE"),
            "capabilities.add",
        );
        must(own["procMount"].is_null() || own["procMount"] == "Default", "procMount");
        must(items(&container["ports"]).iter().all(|it| it["hostPort"].is_null()), "hostPort");
    }
    found
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[test]
fn the_check_finds_what_is_not_restricted() {
    let good = json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
    });
    assert_eq!(violations(&good), Vec::<String>::new());
    for (pointer, value, found) in [
        ("/hostNetwork", json!(true), "hostNetwork"),
        ("/volumes", json!([{"name": "x", "hostPath": {"path": "/"}}]), "volumes"),
        ("/securityContext/sysctls", json!([{"name": "net.core.somaxconn"}]), "sysctls"),
        ("/securityContext/runAsUser", json!(0), "runAsUser"),
        ("/securityContext/runAsNonRoot", json!(false), "runAsNonRoot"),
        ("/securityContext/seccompProfile", json!({"type": "Unconfined"}), "seccompProfile"),
        ("/containers/0/securityContext/privileged", json!(true), "privileged"),
        ("/containers/0/securityContext/allowPrivilegeEscalation", json!(true), "allowPrivilegeEscalation"),
        ("/containers/0/securityContext/capabilities/drop", json!(["NET_RAW"]), "capabilities.drop"),
        ("/containers/0/securityContext/capabilities/add", json!(["NET_ADMIN"]), "capabilities.add"),
        ("/containers/0/ports", json!([{"hostPort": 80}]), "hostPort"),
    ] {
        let mut pod = good.clone();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[field] = value;
        assert_eq!(violations(&pod), [found], "{pointer}");
    }
}
