//! What a node's kubelet asks of a pod: probes, and lifecycle hooks that are requests.

mod target;

use fairway_config::model::{HttpProbe, Probe, ProbeAction};
use http::{HeaderName, HeaderValue, header};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, PodSpec, Probe as Specified};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;

/// Headers that kubelet does not take from the spec, or that would change how long a request or a connection is.
const NOT_TAKEN: [HeaderName; 8] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// All that is asked of the pod, each once, in the order of the ports. A port by a name that no container has is none: kubelet
/// does not find it either. What is asked of another host is not asked of the pod.
pub(super) fn probes(spec: &PodSpec) -> Vec<Probe> {
    let mut found: Vec<Probe> = Vec::new();
    for probe in containers(spec).flat_map(of_container) {
        if !found.contains(&probe) {
            found.push(probe);
        }
    }
    found.sort_by_key(|it| it.port);
    found
}

/// The hosts other than the pod itself that its spec has kubelet ask.
pub(crate) fn other_hosts(spec: &PodSpec) -> BTreeSet<&str> {
    containers(spec).flat_map(hosts_of).filter(|it| !it.is_empty()).collect()
}

fn hosts_of(container: &Container) -> Vec<&str> {
    let probes = specified(container).map(|it| (&it.http_get, &it.tcp_socket));
    let hooks = hooks(container).map(|it| (&it.http_get, &it.tcp_socket));
    let hosts = probes.chain(hooks).flat_map(|(http, tcp)| {
        [http.as_ref().and_then(|it| it.host.as_deref()), tcp.as_ref().and_then(|it| it.host.as_deref())]
    });
    hosts.flatten().collect()
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    // A sidecar is an init container that stays, and has probes.
    spec.containers.iter().chain(spec.init_containers.iter().flatten())
}

fn specified(container: &Container) -> impl Iterator<Item = &Specified> {
    [&container.liveness_probe, &container.readiness_probe, &container.startup_probe].into_iter().flatten()
}

fn hooks(container: &Container) -> impl Iterator<Item = &LifecycleHandler> {
    container.lifecycle.iter().flat_map(|it| [&it.post_start, &it.pre_stop]).flatten()
}

fn of_container(container: &Container) -> Vec<Probe> {
    let probed = specified(container).flat_map(|it| of_probe(it, container));
    probed.chain(hooks(container).flat_map(|it| of_hook(it, container))).collect()
}

fn of_probe(probe: &Specified, container: &Container) -> Vec<Probe> {
    let http = probe.http_get.as_ref().and_then(|it| of_http(it, container));
    let tcp = probe.tcp_socket.as_ref().filter(|it| is_the_pod(it.host.as_deref()));
    let tcp = tcp.and_then(|it| resolve(&it.port, container));
    let tcp = tcp.map(|port| Probe { port, action: ProbeAction::Connect });
    let grpc = probe.grpc.as_ref().and_then(|it| {
        let service = it.service.as_deref().unwrap_or_default().into();
        number(it.port).map(|port| Probe { port, action: ProbeAction::Grpc { service } })
    });
    http.into_iter().chain(tcp).chain(grpc).collect()
}

/// Hooks that only connect are none: kubelet does not run them.
fn of_hook(hook: &LifecycleHandler, container: &Container) -> Option<Probe> {
    of_http(hook.http_get.as_ref()?, container)
}

fn of_http(get: &HTTPGetAction, container: &Container) -> Option<Probe> {
    if !is_the_pod(get.host.as_deref()) {
        return None;
    }
    let port = resolve(&get.port, container)?;
    let written = get.http_headers.iter().flatten();
    // Kubelet sends no request with a header that is none.
    let written: Vec<(HeaderName, HeaderValue)> = written
        .map(|it| Some((it.name.parse().ok()?, HeaderValue::from_str(it.value.trim()).ok()?)))
        .collect::<Option<_>>()?;
    let host = written.iter().find(|it| it.0 == header::HOST && !it.1.is_empty()).map(|it| it.1.clone());
    let http = HttpProbe {
        target: target::normalize(get.path.as_deref().unwrap_or_default())?.into(),
        host,
        headers: written.into_iter().filter(|it| !NOT_TAKEN.contains(&it.0)).collect(),
        tls: get.scheme.as_deref().is_some_and(|it| it.eq_ignore_ascii_case("https")),
    };
    Some(Probe { port, action: ProbeAction::Http(http) })
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

    fn written(spec: &PodSpec) -> Vec<String> {
        let line = |it: &Probe| match &it.action {
            ProbeAction::Connect => format!("{} connect", it.port),
            ProbeAction::Grpc { service } => format!("{} grpc {service:?}", it.port),
            ProbeAction::Http(http) => {
                let mut line = format!("{} {}", it.port, http.target);
                line += http
                    .host
                    .as_ref()
                    .map(|it| format!(" host={}", it.to_str().unwrap()))
                    .as_deref()
                    .unwrap_or("");
                for (name, value) in &http.headers {
                    line += &format!(" {name}={}", value.to_str().unwrap());
                }
                line + if http.tls { " tls" } else { "" }
            }
        };
        probes(spec).iter().map(line).collect()
    }

    #[test]
    fn all_that_kubelet_asks_is_found_and_nothing_else() {
        for (containers, expected) in [
            (r#"[{"name": "a"}]"#, &[][..]),
            (r#"[{"name": "a", "readinessProbe": {"httpGet": {"port": 8080}}}]"#, &["8080 /"]),
            (
                r#"[{"name": "a", "readinessProbe": {"httpGet": {"port": 8080, "path": "healthz?x=1", "scheme": "HTTPS"}}}]"#,
                &["8080 /healthz?x=1 tls"],
            ),
            (
                r#"[{"name": "a", "readinessProbe": {"httpGet": {"port": 8080, "path": "/", "scheme": "HTTP", "httpHeaders":
                    [{"name": "X-Probe", "value": "live"}, {"name": "Host", "value": "shop.example"},
                     {"name": "connection", "value": "upgrade"}, {"name": "Content-Length", "value": "10"}]}}}]"#,
                &["8080 / host=shop.example x-probe=live"],
            ),
            (
                r#"[{"name": "a", "readinessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "a", "value": "x\r\nb: y"}]}}}]"#,
                &[],
            ),
            (
                r#"[{"name": "a", "ports": [{"name": "web", "containerPort": 80}], "livenessProbe": {"tcpSocket": {"port": "web"}}}]"#,
                &["80 connect"],
            ),
            (r#"[{"name": "a", "livenessProbe": {"tcpSocket": {"port": "gone"}}}]"#, &[]),
            (r#"[{"name": "a", "startupProbe": {"grpc": {"port": 9090}}}]"#, &[r#"9090 grpc """#]),
            (
                r#"[{"name": "a", "startupProbe": {"grpc": {"port": 9090, "service": "shop"}}}]"#,
                &[r#"9090 grpc "shop""#],
            ),
            (r#"[{"name": "a", "readinessProbe": {"exec": {"command": ["true"]}}}]"#, &[]),
            (r#"[{"name": "a", "readinessProbe": {"httpGet": {"host": "example.com", "port": 80}}}]"#, &[]),
            (r#"[{"name": "a", "readinessProbe": {"tcpSocket": {"host": "10.0.0.1", "port": 80}}}]"#, &[]),
            (
                r#"[{"name": "a", "lifecycle": {"preStop": {"httpGet": {"host": "10.0.0.1", "port": 81}}}}]"#,
                &[],
            ),
            (r#"[{"name": "a", "readinessProbe": {"httpGet": {"port": 70000}}}]"#, &[]),
            (r#"[{"name": "a", "lifecycle": {"preStop": {"httpGet": {"port": 81}}}}]"#, &["81 /"]),
            (r#"[{"name": "a", "lifecycle": {"preStop": {"tcpSocket": {"port": 81}}}}]"#, &[]),
            (
                r#"[{"name": "a", "lifecycle": {"postStart": {"httpGet": {"port": 81, "path": "/go", "scheme": "HTTPS",
                    "httpHeaders": [{"name": "Authorization", "value": "Basic eA=="}]}}}}]"#,
                &["81 /go authorization=Basic eA== tls"],
            ),
            (
                r#"[{"name": "a", "readinessProbe": {"httpGet": {"port": 82}}, "livenessProbe": {"httpGet": {"port": 82}}},
                    {"name": "b", "livenessProbe": {"httpGet": {"port": 81, "path": "/live"}}}]"#,
                &["81 /live", "82 /"],
            ),
        ] {
            let spec: PodSpec = serde_json::from_str(&format!(r#"{{"containers": {containers}}}"#)).unwrap();
            assert_eq!(written(&spec), expected, "{containers}");
        }
        let sidecar = r#"{"containers": [{"name": "a"}], "initContainers": [{"name": "b", "restartPolicy": "Always",
            "startupProbe": {"httpGet": {"port": 15021}}}]}"#;
        assert_eq!(written(&serde_json::from_str(sidecar).unwrap()), ["15021 /"]);
    }

    #[test]
    fn hosts_that_are_not_the_pod_are_named() {
        let spec = r#"{"containers": [
            {"name": "a", "readinessProbe": {"httpGet": {"host": "10.0.0.1", "port": 80}}, "livenessProbe": {"httpGet": {"host": "", "port": 80}}},
            {"name": "b", "livenessProbe": {"tcpSocket": {"host": "10.0.0.2", "port": 80}},
             "lifecycle": {"postStart": {"httpGet": {"host": "10.0.0.3", "port": 80}}, "preStop": {"httpGet": {"port": 80}}}}]}"#;
        let spec = serde_json::from_str(spec).unwrap();
        assert_eq!(other_hosts(&spec).into_iter().collect::<Vec<_>>(), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    }
}
