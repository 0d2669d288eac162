//! Whether the tunnel can run on every node, and whether it does.

use super::super::picture::{Picture, is_part};
use super::super::report::{Grade, Verdict};
use super::version;
use crate::resources::Kind;
use k8s_openapi::api::core::v1::{Node, NodeSystemInfo, Pod};
use std::collections::{BTreeMap, BTreeSet};

/// nat in the `inet` family of nf_tables, which capture is made of (docs/decisions/0001-capture.md).
const KERNEL: (u32, u32) = (5, 2);

/// The architectures that images are made for.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// Runtimes that call CNI plugins as Kubernetes expects.
const RUNTIMES: [&str; 2] = ["containerd://", "cri-o://"];

pub(super) fn judge(picture: &Picture) -> Vec<Verdict> {
    if !picture.has_mesh() {
        return vec![Verdict::ok("no tunnels are asked for, so nodes need nothing (ztunnel.enabled=false)")];
    }
    let nodes = match &picture.nodes {
        Ok(nodes) => nodes,
        Err(why) => {
            let message = format!("the nodes cannot be seen: {why}");
            return vec![Verdict::new(Grade::Warning, message, "check as somebody who may list nodes")];
        }
    };
    let tunnels = picture.tunnels().is_some().then(|| tunnels(picture));
    let mut found: Vec<Verdict> = nodes.iter().flat_map(|it| of_node(it, tunnels.as_ref())).collect();
    if found.iter().all(|it| it.grade > Grade::Warning) {
        found.push(Verdict::ok(summary(nodes)));
    }
    found
}

/// How the tunnel of each node is: none where it is ready, else why not.
fn tunnels(picture: &Picture) -> BTreeMap<String, Option<String>> {
    let mut of: BTreeMap<String, Option<String>> = BTreeMap::new();
    for pod in picture.inventory.all::<Pod>(Kind::Pod) {
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

fn of_node(node: &Node, tunnels: Option<&BTreeMap<String, Option<String>>>) -> Vec<Verdict> {
    let name = node.metadata.name.clone().unwrap_or_default();
    let Some(info) = node.status.as_ref().and_then(|it| it.node_info.as_ref()) else { return Vec::new() };
    let mut found = Vec::new();
    let mut find = |grade, message: String, remedy: &str| {
        found.push(Verdict::new(grade, message, remedy).of(format!("Node {name}")));
    };
    if info.operating_system != "linux" {
        let message =
            format!("{} nodes have no tunnel: their pods are not in the mesh", info.operating_system);
        find(Grade::Note, message, "run what is to be in the mesh on Linux nodes");
        return found;
    }
    if version(&info.kernel_version).is_some_and(|it| it < KERNEL) {
        let message = format!(
            "its kernel {} cannot capture pods: {}.{} or newer is needed",
            info.kernel_version, KERNEL.0, KERNEL.1
        );
        find(Grade::Error, message, "upgrade the node, or keep the tunnel off it (ztunnel.nodeSelector)");
    }
    if !ARCHITECTURES.contains(&info.architecture.as_str()) {
        let message = format!("there is no image for {}", info.architecture);
        find(Grade::Error, message, "build one, or keep the tunnel off it (ztunnel.nodeSelector)");
    }
    if !RUNTIMES.iter().any(|it| info.container_runtime_version.starts_with(it)) {
        let message =
            format!("the runtime {} is not one that Fairway was tested with", info.container_runtime_version);
        find(
            Grade::Warning,
            message,
            "say where it has its CNI plugins (ztunnel.cni.programs, ztunnel.cni.configurations)",
        );
    }
    if !is_ready(node) {
        let remedy = "see kubectl describe node; without a CNI configuration nodes are not ready either";
        find(Grade::Warning, "it is not ready".to_owned(), remedy);
    }
    match tunnels.map(|it| it.get(&name)) {
        None | Some(Some(None)) => {}
        Some(Some(Some(why))) => {
            let message = format!("its tunnel is not ready, so its pods of the mesh reach nobody ({why})");
            find(Grade::Error, message, "see kubectl -n NAMESPACE logs ds/fairway-ztunnel --all-containers");
        }
        Some(None) => {
            let message = "it has no tunnel, so pods of the mesh do not start on it".to_owned();
            find(Grade::Error, message, "see ztunnel.tolerations and ztunnel.nodeSelector of the chart");
        }
    }
    found
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|it| it.conditions.as_ref());
    conditions.into_iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True")
}

fn summary(nodes: &[Node]) -> String {
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
