//! Whether ztunnel can run on every node, and whether it does.

use super::super::results::Results;
use super::super::snapshot::{Snapshot, is_part};
use super::version;
use crate::diagnostic::{Diagnostic, Reason, Subject};
use crate::resources::Kind;
use k8s_openapi::api::core::v1::{Node, NodeSystemInfo, Pod};
use std::collections::{BTreeMap, BTreeSet};

/// nat in the `inet` family of nf_tables, which capture is made of (docs/decisions/0001-capture.md).
const KERNEL: (u32, u32) = (5, 2);

/// The architectures that images are made for.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// Runtimes that call CNI plugins as Kubernetes expects.
const RUNTIMES: [&str; 2] = ["containerd://", "cri-o://"];

pub(super) fn check(snapshot: &Snapshot) -> Results {
    let mut results = Results::default();
    if !snapshot.has_mesh() {
        results.pass("ztunnel is not installed (ztunnel.enabled=false), so nothing is asked of nodes");
        return results;
    }
    let nodes = match &snapshot.nodes {
        Ok(nodes) => nodes,
        Err(why) => {
            let message = format!("the nodes cannot be listed: {why}");
            let remedy = "check with an account that may list nodes";
            results.report(Diagnostic::warning(Reason::NodesUnreadable, "", message, remedy));
            return results;
        }
    };
    let tunnels = snapshot.tunnels().is_some().then(|| tunnels(snapshot));
    results.diagnostics = nodes.iter().flat_map(|node| check_node(node, tunnels.as_ref())).collect();
    if results.is_good() {
        results.pass(summarize(nodes));
    }
    results
}

/// How the tunnel of each node is: none where it is ready, else why not.
fn tunnels(snapshot: &Snapshot) -> BTreeMap<String, Option<String>> {
    let mut of: BTreeMap<String, Option<String>> = BTreeMap::new();
    for pod in snapshot.inventory.all::<Pod>(Kind::Pod) {
        let Some(node) = pod.spec.as_ref().and_then(|it| it.node_name.clone()) else { continue };
        if !is_part(pod.metadata.labels.as_ref(), "ztunnel") {
            continue;
        }
        // An upgrade has two on a node for a while; one that is ready is enough.
        let why = unready(&pod);
        let held = of.entry(node).or_insert_with(|| why.clone());
        if why.is_none() {
            *held = None;
        }
    }
    of
}

/// Why a pod is not ready; none when it is.
pub(super) fn unready(pod: &Pod) -> Option<String> {
    let status = pod.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().flatten().find(|it| it.type_ == "Ready");
    if ready.is_some_and(|it| it.status == "True") {
        return None;
    }
    let waiting = status.container_statuses.iter().flatten().find_map(|it| {
        let state = it.state.as_ref()?;
        let waiting = state.waiting.as_ref()?;
        Some(format!("{}: {}", it.name, waiting.reason.as_deref().unwrap_or("waiting")))
    });
    let said = ready.and_then(|it| it.message.clone());
    Some(waiting.or(said).unwrap_or_else(|| status.phase.unwrap_or_else(|| "not ready".to_owned())))
}

fn check_node(node: &Node, tunnels: Option<&BTreeMap<String, Option<String>>>) -> Vec<Diagnostic> {
    let name = node.metadata.name.clone().unwrap_or_default();
    let Some(info) = node.status.as_ref().and_then(|it| it.node_info.as_ref()) else { return Vec::new() };
    let mut found = Vec::new();
    let mut report = |fault: Diagnostic| found.push(fault.about(Subject::named("Node", "", name.as_str())));
    if info.operating_system != "linux" {
        let message = format!(
            "ztunnel does not run on {} nodes, so their pods are not in the mesh",
            info.operating_system
        );
        let remedy = "run pods of the mesh on Linux nodes";
        report(Diagnostic::note(Reason::NodeNotLinux, "", message, remedy));
        return found;
    }
    if version(&info.kernel_version).is_some_and(|it| it < KERNEL) {
        let message = format!(
            "the kernel {} cannot capture pods: {}.{} or newer is needed",
            info.kernel_version, KERNEL.0, KERNEL.1
        );
        let remedy = "upgrade the node, or exclude it (value ztunnel.nodeSelector of the chart)";
        report(Diagnostic::error(Reason::KernelTooOld, "", message, remedy));
    }
    if !ARCHITECTURES.contains(&info.architecture.as_str()) {
        let message = format!("there is no image of Fairway for architecture {}", info.architecture);
        let remedy = "build one, or exclude the node (value ztunnel.nodeSelector of the chart)";
        report(Diagnostic::error(Reason::ArchitectureUnsupported, "", message, remedy));
    }
    if !RUNTIMES.iter().any(|it| info.container_runtime_version.starts_with(it)) {
        let message =
            format!("Fairway is not tested with container runtime {}", info.container_runtime_version);
        let remedy = "set the directories of its CNI plugins (values ztunnel.cni.programs and ztunnel.cni.configurations)";
        report(Diagnostic::warning(Reason::RuntimeUntested, "", message, remedy));
    }
    if !is_ready(node) {
        let remedy = "see kubectl describe node; without a CNI configuration nodes are not ready either";
        report(Diagnostic::warning(Reason::NodeNotReady, "", "the node is not ready", remedy));
    }
    match tunnels.map(|it| it.get(&name)) {
        None | Some(Some(None)) => {}
        Some(Some(Some(why))) => {
            let message = format!(
                "ztunnel is not ready on the node, so its pods of the mesh can reach no other pod: {why}"
            );
            let remedy = "see kubectl -n NAMESPACE logs ds/fairway-ztunnel --all-containers";
            report(Diagnostic::error(Reason::ZtunnelNotReady, "", message, remedy));
        }
        Some(None) => {
            let message = "ztunnel does not run on the node, so pods of the mesh do not start there";
            let remedy = "see the values ztunnel.tolerations and ztunnel.nodeSelector of the chart";
            report(Diagnostic::error(Reason::ZtunnelMissing, "", message, remedy));
        }
    }
    found
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|it| it.conditions.as_ref());
    conditions.into_iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True")
}

fn summarize(nodes: &[Node]) -> String {
    let linux: Vec<&NodeSystemInfo> = nodes
        .iter()
        .filter_map(|it| it.status.as_ref()?.node_info.as_ref())
        .filter(|it| it.operating_system == "linux")
        .collect();
    let each = |of: &dyn Fn(&NodeSystemInfo) -> String| {
        linux.iter().map(|it| of(it)).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    };
    format!(
        "{} nodes: kernel {}; {}; {}",
        linux.len(),
        each(&|it| it.kernel_version.clone()),
        each(&|it| it.architecture.clone()),
        each(&|it| it.container_runtime_version.clone())
    )
}
