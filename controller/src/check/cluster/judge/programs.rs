//! Fairway's own programs: the controllers, who leads, the tunnels, the proxies, and that they are of one version.

use super::super::picture::{Installation, Picture, is_part};
use super::super::report::{Grade, Verdict};
use crate::leader;
use crate::provision::metadata::{GATEWAY_CLASS_NAME, MANAGED_BY, MANAGER};
use crate::resources::Kind;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use std::collections::BTreeMap;

/// The label of Pod Security Admission.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

pub(super) fn judge(picture: &Picture) -> Vec<Verdict> {
    let Some(installation) = picture.installation() else {
        return vec![match &picture.deployments {
            Ok(_) => Verdict::new(
                Grade::Note,
                "Fairway is not installed",
                "helm install fairway charts/fairway -n fairway-system (docs/installing.md)",
            ),
            Err(why) => {
                let message = format!("whether Fairway is installed cannot be seen: {why}");
                Verdict::new(Grade::Warning, message, "check as somebody who may list Deployments")
            }
        }];
    };
    let mut found = controllers(&installation);
    found.push(leader(picture, &installation));
    found.extend(tunnels(picture, &installation));
    found.extend(versions(picture));
    if picture.inventory.offers(Kind::GatewayClass) && !picture.inventory.has(Kind::GatewayClass, "fairway") {
        let message = "there is no GatewayClass `fairway`: the kinds came after the chart";
        found.push(Verdict::new(
            Grade::Error,
            message,
            "helm upgrade fairway charts/fairway -n fairway-system",
        ));
    }
    found
}

fn controllers(installation: &Installation<'_>) -> Vec<Verdict> {
    let controller = installation.controller;
    let wanted = controller.spec.as_ref().and_then(|it| it.replicas).unwrap_or(1);
    let ready = controller.status.as_ref().and_then(|it| it.ready_replicas).unwrap_or(0);
    let name = controller.metadata.name.as_deref().unwrap_or_default();
    let object = format!("Deployment {}/{name}", installation.namespace);
    if ready >= wanted {
        return vec![Verdict::ok(format!("{ready} of {wanted} controllers are ready"))];
    }
    let grade = if ready == 0 { Grade::Error } else { Grade::Warning };
    let message = format!("{ready} of {wanted} controllers are ready");
    let remedy = format!("see kubectl -n {} describe pods and logs deploy/{name}", installation.namespace);
    vec![Verdict::new(grade, message, remedy).of(object)]
}

fn leader(picture: &Picture, installation: &Installation<'_>) -> Verdict {
    let object = format!("Lease {}/{}", installation.namespace, leader::NAME);
    let remedy = format!("see kubectl -n {} logs deploy/fairway-controller", installation.namespace);
    let lease = match &picture.lease {
        Ok(lease) => lease.as_ref().and_then(|it| it.spec.as_ref()),
        Err(why) => {
            return Verdict::new(Grade::Note, format!("which controller leads cannot be seen: {why}"), "");
        }
    };
    let holder = lease.and_then(|it| it.holder_identity.as_deref()).filter(|it| !it.is_empty());
    let Some(holder) = holder else {
        let message = "no controller leads: nothing is configured, and no status written";
        return Verdict::new(Grade::Error, message, remedy).of(object);
    };
    let duration = i64::from(lease.and_then(|it| it.lease_duration_seconds).unwrap_or(15));
    let silent = lease
        .and_then(|it| it.renew_time.as_ref())
        .map(|it| picture.now.as_second().saturating_sub(it.0.as_second()));
    match silent {
        // Twice as long, for clocks that differ.
        Some(silent) if silent > 2 * duration => {
            let message = format!("the controller that leads, {holder}, has not said so for {silent} s");
            Verdict::new(Grade::Error, message, remedy).of(object)
        }
        _ => Verdict::ok(format!("{holder} leads")),
    }
}

fn tunnels(picture: &Picture, installation: &Installation<'_>) -> Option<Verdict> {
    if !picture.has_mesh() {
        return None;
    }
    let object = format!("DaemonSet {}/fairway-ztunnel", installation.namespace);
    let Some(set) = picture.tunnels() else {
        let message = "the tunnels' DaemonSet is not there, so that no pod of the mesh starts";
        let remedy = "helm upgrade fairway charts/fairway -n fairway-system";
        return Some(Verdict::new(Grade::Error, message, remedy).of(object));
    };
    let status = set.status.clone().unwrap_or_default();
    let wanted = status.desired_number_scheduled;
    if status.number_ready < wanted
        && let Some(level) = enforced(picture, installation.namespace)
    {
        let message = format!(
            "{} of {wanted} tunnels are ready: its namespace enforces Pod Security `{level}`",
            status.number_ready
        );
        let remedy =
            format!("kubectl label namespace {} {ENFORCE}=privileged --overwrite", installation.namespace);
        return Some(Verdict::new(Grade::Error, message, remedy).of(object));
    }
    if status.number_ready < wanted {
        let message = format!("{} of {wanted} tunnels are ready", status.number_ready);
        let remedy =
            format!("see kubectl -n {} get pods -o wide; nodes are named above", installation.namespace);
        return Some(Verdict::new(Grade::Error, message, remedy).of(object));
    }
    let updated = status.updated_number_scheduled.unwrap_or(wanted);
    if updated < wanted {
        let message = format!("{updated} of {wanted} nodes have the new tunnel: an upgrade is under way");
        let remedy = "wait; old tunnels carry what is open, for ztunnel.handOverSeconds at most";
        return Some(Verdict::new(Grade::Note, message, remedy).of(object));
    }
    Some(Verdict::ok(format!("{wanted} tunnels are ready, one a node")))
}

/// The Pod Security level of a namespace, if it keeps tunnels from running.
fn enforced(picture: &Picture, namespace: &str) -> Option<String> {
    let all = picture.inventory.all::<Namespace>(Kind::Namespace);
    let own = all.into_iter().find(|it| it.metadata.name.as_deref() == Some(namespace))?;
    own.metadata.labels?.remove(ENFORCE).filter(|it| it != "privileged")
}

/// Programs of several versions work together during an upgrade, and are a mistake after it.
fn versions(picture: &Picture) -> Option<Verdict> {
    let mut by_version: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in picture.inventory.all::<Pod>(Kind::Pod) {
        let (labels, metadata) = (pod.metadata.labels.as_ref(), &pod.metadata);
        let label = |key: &str| labels.and_then(|it| it.get(key)).map(String::as_str);
        let is_proxy = label(MANAGED_BY) == Some(MANAGER) && label(GATEWAY_CLASS_NAME).is_some();
        if !is_proxy && !is_part(labels, "controller") && !is_part(labels, "ztunnel") {
            continue;
        }
        let image = pod.spec.as_ref().and_then(|it| it.containers.first()).and_then(|it| it.image.as_deref());
        let Some(version) = image.and_then(tag) else { continue };
        let name = |it: &Option<String>| it.clone().unwrap_or_default();
        let object = format!("Pod {}/{} {version}", name(&metadata.namespace), name(&metadata.name));
        by_version.entry(version.to_owned()).or_default().push(object);
    }
    match by_version.len() {
        0 => None,
        1 => by_version.pop_first().map(|(version, pods)| {
            Verdict::ok(format!("all programs are of one version, {version} ({} pods)", pods.len()))
        }),
        _ => {
            let message = "programs of several versions run";
            let remedy =
                "let the upgrade end (kubectl rollout status); images that were set by hand stay behind";
            let verdict = Verdict::new(Grade::Warning, message, remedy);
            Some(by_version.into_values().flatten().fold(verdict, Verdict::of))
        }
    }
}

/// The tag of an image; none where a digest says which it is.
fn tag(image: &str) -> Option<&str> {
    if image.contains('@') {
        return None;
    }
    let (_, tag) = image.rsplit_once(':')?;
    (!tag.contains('/')).then_some(tag)
}
