//! The ports at which a node's kubelet connects to a pod: probes, and lifecycle hooks that are requests.

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, PodSpec, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;

/// All of them, in order. A port by a name that no container has is none: kubelet does not find it either.
pub(super) fn ports(spec: &PodSpec) -> Vec<u16> {
    // A sidecar is an init container that stays, and has probes.
    let all = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let found: BTreeSet<u16> = all().flat_map(of_container).collect();
    found.into_iter().collect()
}

fn of_container(container: &Container) -> impl Iterator<Item = u16> {
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    let probed = probes.into_iter().flatten().flat_map(|it| of_probe(it, container));
    let hooks = container.lifecycle.iter().flat_map(|it| [&it.post_start, &it.pre_stop]).flatten();
    let hooked = hooks.flat_map(|it| of_hook(it, container));
    probed.chain(hooked).collect::<Vec<_>>().into_iter()
}

fn of_probe(probe: &Probe, container: &Container) -> Vec<u16> {
    let http = probe.http_get.as_ref().filter(|it| is_the_pod(it.host.as_deref())).map(|it| &it.port);
    let tcp = probe.tcp_socket.as_ref().filter(|it| is_the_pod(it.host.as_deref())).map(|it| &it.port);
    let grpc = probe.grpc.as_ref().and_then(|it| number(it.port));
    http.into_iter().chain(tcp).filter_map(|it| resolve(it, container)).chain(grpc).collect()
}

fn of_hook(hook: &LifecycleHandler, container: &Container) -> Option<u16> {
    let http = hook.http_get.as_ref().filter(|it| is_the_pod(it.host.as_deref()))?;
    resolve(&http.port, container)
}

/// A probe may name another host; then it is not the pod that is asked.
fn is_the_pod(host: Option<&str>) -> bool {
    host.is_none_or(str::is_empty)
}

fn resolve(port: &IntOrString, container: &Container) -> Option<u16> {
    match port {
        IntOrString::Int(it) => number(*it),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|it| it.name.as_ref() == Some(name));
            named.and_then(|it| number(it.container_port)).or_else(|| name.parse().ok())
        }
    }
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|it| *it > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_at_which_kubelet_knocks_is_found() {
        for (containers, expected) in [
            (r#"[{"name": "a"}]"#, &[][..]),
            (r#"[{"name": "a", "readinessProbe": {"httpGet": {"port": 8080}}}]"#, &[8080]),
            (
                r#"[{"name": "a", "ports": [{"name": "web", "containerPort": 80}], "livenessProbe": {"tcpSocket": {"port": "web"}}}]"#,
                &[80],
            ),
            (r#"[{"name": "a", "livenessProbe": {"tcpSocket": {"port": "gone"}}}]"#, &[]),
            (r#"[{"name": "a", "startupProbe": {"grpc": {"port": 9090}}}]"#, &[9090]),
            (r#"[{"name": "a", "readinessProbe": {"exec": {"command": ["true"]}}}]"#, &[]),
            (r#"[{"name": "a", "readinessProbe": {"httpGet": {"host": "example.com", "port": 80}}}]"#, &[]),
            (r#"[{"name": "a", "readinessProbe": {"httpGet": {"port": 70000}}}]"#, &[]),
            (r#"[{"name": "a", "lifecycle": {"preStop": {"httpGet": {"port": 81}}}}]"#, &[81]),
            (
                r#"[{"name": "a", "readinessProbe": {"httpGet": {"port": 82}}}, {"name": "b", "livenessProbe": {"httpGet": {"port": 81}}}]"#,
                &[81, 82],
            ),
        ] {
            let spec: PodSpec = serde_json::from_str(&format!(r#"{{"containers": {containers}}}"#)).unwrap();
            assert_eq!(ports(&spec), expected, "{containers}");
        }
        let sidecar = r#"{"containers": [{"name": "a"}], "initContainers": [{"name": "b", "restartPolicy": "Always",
            "startupProbe": {"httpGet": {"port": 15021}}}]}"#;
        assert_eq!(ports(&serde_json::from_str(sidecar).unwrap()), [15021]);
    }
}
