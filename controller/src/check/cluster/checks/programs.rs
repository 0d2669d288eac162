//! Fairway's own programs: the controllers, which of them leads, ztunnel, the proxies, and that all have one version.

use super::super::results::Results;
use super::super::snapshot::{Installation, Snapshot, is_part};
use crate::diagnostic::{Diagnostic, Reason, Severity, Subject};
use crate::leader;
use crate::provision::metadata::{GATEWAY_CLASS_NAME, MANAGED_BY, MANAGER};
use crate::resources::Kind;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many pods of a version a message names.
const NAMED: usize = 3;

/// The label of Pod Security Admission.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

pub(super) fn check(snapshot: &Snapshot) -> Results {
    let mut results = Results::default();
    let Some(installation) = snapshot.installation() else {
        results.report(match &snapshot.deployments {
            Ok(_) => Diagnostic::note(
                Reason::NotInstalled,
                "",
                "Fairway is not installed",
                "helm install fairway charts/fairway -n fairway-system (docs/installing.md)",
            ),
            Err(why) => {
                let message = format!(
                    "Deployments cannot be listed, so it is not known whether Fairway is installed: {why}"
                );
                let remedy = "check with an account that may list Deployments";
                Diagnostic::warning(Reason::InstallationUnreadable, "", message, remedy)
            }
        });
        return results;
    };
    check_controllers(&installation, &mut results);
    check_leader(snapshot, &installation, &mut results);
    check_ztunnel(snapshot, &installation, &mut results);
    check_versions(snapshot, &mut results);
    if snapshot.inventory.has_kind(Kind::GatewayClass)
        && !snapshot.inventory.has(Kind::GatewayClass, "fairway")
    {
        let message = "there is no GatewayClass `fairway`: the chart was installed before the Gateway API";
        let remedy = "helm upgrade fairway charts/fairway -n fairway-system";
        results.report(Diagnostic::error(Reason::GatewayClassMissing, "", message, remedy));
    }
    results
}

fn check_controllers(installation: &Installation<'_>, results: &mut Results) {
    let controller = installation.controller;
    let wanted = controller.spec.as_ref().and_then(|it| it.replicas).unwrap_or(1);
    let ready = controller.status.as_ref().and_then(|it| it.ready_replicas).unwrap_or(0);
    let name = controller.metadata.name.as_deref().unwrap_or_default();
    if ready >= wanted {
        return results.pass(format!("{ready} of {wanted} controllers are ready"));
    }
    let severity = if ready == 0 { Severity::Error } else { Severity::Warning };
    let message = format!("{ready} of {wanted} controllers are ready");
    let remedy = format!("see kubectl -n {} describe pods and logs deploy/{name}", installation.namespace);
    let fault = Diagnostic::new(severity, Reason::ControllersNotReady, "", message, remedy);
    results.report(fault.about(Subject::named("Deployment", installation.namespace, name)));
}

fn check_leader(snapshot: &Snapshot, installation: &Installation<'_>, results: &mut Results) {
    let object = Subject::named("Lease", installation.namespace, leader::NAME);
    let remedy = format!("see kubectl -n {} logs deploy/fairway-controller", installation.namespace);
    let lease = match &snapshot.lease {
        Ok(lease) => lease.as_ref().and_then(|it| it.spec.as_ref()),
        Err(why) => {
            let message =
                format!("the Lease cannot be read, so it is not known which controller leads: {why}");
            let remedy = "check with an account that may read Leases";
            return results
                .report(Diagnostic::note(Reason::LeaderUnreadable, "", message, remedy).about(object));
        }
    };
    let holder = lease.and_then(|it| it.holder_identity.as_deref()).filter(|it| !it.is_empty());
    let Some(holder) = holder else {
        let message = "no controller leads, so no proxy is configured and no status is written";
        return results.report(Diagnostic::error(Reason::NoLeader, "", message, remedy).about(object));
    };
    let duration = i64::from(lease.and_then(|it| it.lease_duration_seconds).unwrap_or(15));
    let silent = lease
        .and_then(|it| it.renew_time.as_ref())
        .map(|it| snapshot.now.as_second().saturating_sub(it.0.as_second()));
    match silent {
        // Twice as long, for clocks that differ.
        Some(silent) if silent > 2 * duration => {
            let message =
                format!("the leading controller, {holder}, has not renewed its Lease for {silent} s");
            results.report(Diagnostic::error(Reason::LeaderSilent, "", message, remedy).about(object));
        }
        _ => results.pass(format!("{holder} leads")),
    }
}

fn check_ztunnel(snapshot: &Snapshot, installation: &Installation<'_>, results: &mut Results) {
    if !snapshot.has_mesh() {
        return;
    }
    let object = Subject::named("DaemonSet", installation.namespace, "fairway-ztunnel");
    let Some(set) = snapshot.tunnels() else {
        let message = "the DaemonSet of ztunnel does not exist, so no pod of the mesh starts";
        let remedy = "helm upgrade fairway charts/fairway -n fairway-system";
        return results
            .report(Diagnostic::error(Reason::ZtunnelSetMissing, "", message, remedy).about(object));
    };
    let status = set.status.clone().unwrap_or_default();
    let wanted = status.desired_number_scheduled;
    if status.number_ready < wanted
        && let Some(level) = enforced(snapshot, installation.namespace)
    {
        let message = format!(
            "ztunnel is ready on {} of {wanted} nodes: its namespace enforces Pod Security level `{level}`",
            status.number_ready
        );
        let remedy =
            format!("kubectl label namespace {} {ENFORCE}=privileged --overwrite", installation.namespace);
        return results
            .report(Diagnostic::error(Reason::ZtunnelForbidden, "", message, remedy).about(object));
    }
    if status.number_ready < wanted {
        let message = format!("ztunnel is ready on {} of {wanted} nodes", status.number_ready);
        let remedy =
            format!("see kubectl -n {} get pods -o wide; the nodes are named above", installation.namespace);
        return results
            .report(Diagnostic::error(Reason::ZtunnelSetNotReady, "", message, remedy).about(object));
    }
    let updated = status.updated_number_scheduled.unwrap_or(wanted);
    if updated < wanted {
        let message = format!("{updated} of {wanted} nodes run the new ztunnel: an upgrade is under way");
        let remedy = "wait: the old ones serve open connections, for at most ztunnel.handOverSeconds";
        return results.report(Diagnostic::note(Reason::ZtunnelUpgrading, "", message, remedy).about(object));
    }
    results.pass(format!("ztunnel is ready on {wanted} of {wanted} nodes"));
}

/// The Pod Security level of a namespace, if ztunnel may not run under it.
fn enforced(snapshot: &Snapshot, namespace: &str) -> Option<String> {
    let all = snapshot.inventory.all::<Namespace>(Kind::Namespace);
    let own = all.into_iter().find(|it| it.metadata.name.as_deref() == Some(namespace))?;
    own.metadata.labels?.remove(ENFORCE).filter(|it| it != "privileged")
}

/// Programs of several versions work together during an upgrade, and are a mistake after it.
fn check_versions(snapshot: &Snapshot, results: &mut Results) {
    let mut by_version: BTreeMap<String, Vec<Subject>> = BTreeMap::new();
    for pod in snapshot.inventory.all::<Pod>(Kind::Pod) {
        let (labels, metadata) = (pod.metadata.labels.as_ref(), &pod.metadata);
        let label = |key: &str| labels.and_then(|it| it.get(key)).map(String::as_str);
        let is_proxy = label(MANAGED_BY) == Some(MANAGER) && label(GATEWAY_CLASS_NAME).is_some();
        if !is_proxy && !is_part(labels, "controller") && !is_part(labels, "ztunnel") {
            continue;
        }
        let image = pod.spec.as_ref().and_then(|it| it.containers.first()).and_then(|it| it.image.as_deref());
        let Some(version) = image.and_then(tag) else { continue };
        let text = |text: &Option<String>| Arc::<str>::from(text.as_deref().unwrap_or_default());
        let object = Subject::named("Pod", text(&metadata.namespace), text(&metadata.name));
        by_version.entry(version.to_owned()).or_default().push(object);
    }
    if let ([(version, pods)], true) = (&by_version.iter().collect::<Vec<_>>()[..], by_version.len() == 1) {
        return results.pass(format!("every program of Fairway has version {version} ({} pods)", pods.len()));
    }
    if by_version.is_empty() {
        return;
    }
    let describe = |(version, pods): (String, Vec<Subject>)| {
        let named: Vec<String> =
            pods.iter().take(NAMED).map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
        let more = pods.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("{version} ({}{more})", named.join(", "))
    };
    let versions: Vec<String> = by_version.into_iter().map(describe).collect();
    let message = format!("the programs of Fairway have different versions: {}", versions.join(", "));
    let remedy =
        "wait until the upgrade ends (kubectl rollout status); images that were set by hand are not upgraded";
    results.report(Diagnostic::warning(Reason::VersionsMixed, "", message, remedy));
}

/// The tag of an image; none where a digest says which it is.
fn tag(image: &str) -> Option<&str> {
    if image.contains('@') {
        return None;
    }
    let (_, tag) = image.rsplit_once(':')?;
    (!tag.contains('/')).then_some(tag)
}
