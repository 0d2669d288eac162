//! The Deployment: the pods that run the proxy. They meet PodSecurity `restricted`.
//!
//! What a listener says is not in it: a Gateway that gets a port keeps its pods.
//!
//! No request fails when the pods are replaced, because a new pod is ready only once it has its whole configuration,
//! an old one goes only after that (`maxUnavailable: 0`), and it goes on accepting for the time of `drain.linger` after
//! its SIGTERM, in which every node learns that it is no endpoint any more; the program does that itself, so no `preStop`
//! has to.

use super::manifest::{Manifest, ManifestKind};
use super::plan::Planned;
use super::{Drain, Scale};
use crate::resources::gateway_parameters::LoggedRequests;
use crate::resources::proxy_pod::{self, Flag};
use fairway_config::model::MESH_LABEL;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, HTTPGetAction, LocalObjectReference, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext, Sysctl,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;
use std::time::Duration;

/// The user of the image; any that is not root would do.
const NOBODY: i64 = 65532;
const METRICS_PORT: i32 = 15020;
const READINESS_PORT: i32 = 15021;

/// From the end of the drain to being killed.
const LAST_SECONDS: u64 = 5;
/// How long a proxy may wait for its first configuration before it is started again.
const STARTUP_SECONDS: i32 = 900;

pub(super) fn plan(planned: Planned<'_>) -> Manifest {
    let object = Deployment {
        metadata: planned.metadata(planned.name()),
        spec: Some(DeploymentSpec {
            replicas: replicas(planned),
            selector: planned.selector(),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            revision_history_limit: Some(2),
            template: PodTemplateSpec { metadata: Some(pod_metadata(planned)), spec: Some(pod(planned)) },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    };
    planned.manifest(ManifestKind::Deployment, planned.name(), &object)
}

/// None where an autoscaler decides.
fn replicas(planned: Planned<'_>) -> Option<i32> {
    match planned.proxy.parameters.scale {
        Some(Scale::Fixed(count)) => Some(count),
        Some(Scale::Automatic { .. }) => None,
        None => Some(planned.proxy.class.usual_replicas()),
    }
}

fn pod_metadata(planned: Planned<'_>) -> ObjectMeta {
    let written = &planned.proxy.parameters.pod;
    let mut labels = written.labels.clone();
    labels.extend(planned.labels());
    // It speaks HBONE itself; captured, its tunnels would go in circles.
    labels.insert(MESH_LABEL.to_owned(), "disabled".to_owned());
    let mut annotations = BTreeMap::from([
        ("prometheus.io/scrape".to_owned(), "true".to_owned()),
        ("prometheus.io/port".to_owned(), METRICS_PORT.to_string()),
        ("prometheus.io/path".to_owned(), "/metrics".to_owned()),
    ]);
    annotations.extend(written.annotations.clone());
    annotations.extend(planned.trusted_annotations());
    ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }
}

fn pod(planned: Planned<'_>) -> PodSpec {
    let written = &planned.proxy.parameters.pod;
    let shared = planned.settings.image_pull_secrets.iter();
    let shared: Vec<_> = shared.map(|name| LocalObjectReference { name: name.clone() }).collect();
    let pull_secrets = written.image_pull_secrets.clone().unwrap_or(shared);
    PodSpec {
        service_account_name: Some(planned.name().to_owned()),
        automount_service_account_token: Some(false),
        // Else every Service of the namespace would be in the environment.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(grace_seconds(planned.proxy.parameters.drain)),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NOBODY),
            run_as_group: Some(NOBODY),
            // So that it can read its token.
            fs_group: Some(NOBODY),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            // One of the sysctls that cannot be felt outside the pod: it binds port 80 without a privilege.
            sysctls: Some(vec![Sysctl {
                name: "net.ipv4.ip_unprivileged_port_start".to_owned(),
                value: "0".to_owned(),
            }]),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(planned)],
        volumes: Some(proxy_pod::volumes(planned.name())),
        image_pull_secrets: Some(pull_secrets).filter(|it| !it.is_empty()),
        node_selector: Some(written.node_selector.clone()).filter(|it| !it.is_empty()),
        tolerations: written.tolerations.clone(),
        affinity: written.affinity.clone(),
        topology_spread_constraints: Some(
            written.topology_spread_constraints.clone().unwrap_or_else(|| vec![over_nodes(planned)]),
        ),
        priority_class_name: written.priority_class_name.clone(),
        ..PodSpec::default()
    }
}

fn container(planned: Planned<'_>) -> Container {
    let written = &planned.proxy.parameters.pod;
    let port = |name: &str, port| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    Container {
        name: proxy_pod::CONTAINER.to_owned(),
        image: Some(written.image.clone().unwrap_or_else(|| planned.settings.image.clone())),
        image_pull_policy: planned.settings.image_pull_policy.clone(),
        args: Some(arguments(planned)),
        env: Some(proxy_pod::environment()),
        ports: Some(vec![port("metrics", METRICS_PORT), port("readiness", READINESS_PORT)]),
        resources: Some(written.resources.clone().unwrap_or_else(modest)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        // Asked every second till the first configuration is there, so that nobody waits for it longer than needed.
        startup_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(STARTUP_SECONDS),
            timeout_seconds: Some(1),
            ..ready()
        }),
        readiness_probe: Some(Probe { period_seconds: Some(5), timeout_seconds: Some(2), ..ready() }),
        volume_mounts: Some(proxy_pod::mounts()),
        ..Container::default()
    }
}

fn arguments(planned: Planned<'_>) -> Vec<String> {
    let (proxy, settings) = (planned.proxy, planned.settings);
    let drain = proxy.parameters.drain;
    let mut arguments = vec![
        Flag::Gateway.with(&proxy.name),
        Flag::Controller.with(&settings.controller),
        Flag::ControllerRoots.with(proxy_pod::roots_file()),
        Flag::Token.with(proxy_pod::token_file()),
        Flag::Identity.with(&proxy.identity),
        Flag::StateFile.with(proxy_pod::state_file()),
        Flag::DrainLinger.with(milliseconds(drain.linger)),
        Flag::DrainGrace.with(milliseconds(drain.grace)),
    ];
    let logged = match proxy.parameters.access_log.requests {
        None | Some(LoggedRequests::Errors) => "errors",
        Some(LoggedRequests::None) => "none",
        Some(LoggedRequests::All) => "all",
    };
    arguments.push(Flag::AccessLog.with(logged));
    arguments.extend(proxy.parameters.access_log.one_in.map(|it| Flag::AccessLogSample.with(it)));
    arguments.extend(proxy.parameters.metrics.series_limit.map(|it| Flag::SeriesLimit.with(it)));
    arguments.extend(settings.log.as_ref().map(|it| Flag::Log.with(it)));
    arguments.extend(settings.log_format.as_ref().map(|it| Flag::LogFormat.with(it)));
    arguments
}

/// As the program's flags take a duration.
fn milliseconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

/// The pod has the time that its program takes to drain, and a little more.
fn grace_seconds(drain: Drain) -> i64 {
    let both = drain.linger + drain.grace;
    let rounded_up = both.as_secs() + u64::from(both.subsec_nanos() > 0);
    i64::try_from(rounded_up + LAST_SECONDS).unwrap_or(i64::MAX)
}

fn modest() -> ResourceRequirements {
    let requests = [("cpu", "10m"), ("memory", "32Mi")];
    let requests = requests.map(|(name, it)| (name.to_owned(), Quantity(it.to_owned())));
    ResourceRequirements { requests: Some(BTreeMap::from(requests)), ..ResourceRequirements::default() }
}

fn ready() -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/healthz/ready".to_owned()),
            port: IntOrString::Int(READINESS_PORT),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

/// Over nodes as far as it goes; pods of an older version do not count, so that a rollout does not end up lopsided.
fn over_nodes(planned: Planned<'_>) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(planned.selector()),
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    }
}
