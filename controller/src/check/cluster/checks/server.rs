//! The API server, and the rights of whoever installs.

use super::super::results::Results;
use super::super::right::Right;
use super::super::snapshot::Snapshot;
use super::version;
use crate::diagnostic::{Diagnostic, Reason, Severity, Subject};

/// The oldest Kubernetes that Fairway runs on, and the newest that its tests run on.
const OLDEST: (u32, u32) = (1, 31);
const NEWEST: (u32, u32) = (1, 36);

pub(super) fn check(snapshot: &Snapshot) -> Results {
    let mut results = Results::default();
    check_version(&snapshot.version, &mut results);
    report_unreadable(snapshot, &mut results);
    check_rights(snapshot, &mut results);
    results
}

/// Kinds that are there and cannot be listed; most often because it is an account with few rights that checks.
fn report_unreadable(snapshot: &Snapshot, results: &mut Results) {
    for (kind, why) in snapshot.inventory.unread() {
        // The API server's text names the kind, which would make one message of each.
        let why = if why.starts_with("403 ") { "you may not list them" } else { why };
        let message = format!(
            "objects of this kind cannot be listed, so Gateways, routes and pods are not checked: {why}"
        );
        let remedy = "check with an account that may list them, such as an administrator of the cluster";
        let warning = Diagnostic::warning(Reason::KindUnreadable, "", message, remedy);
        results.report(warning.about(Subject::kind(kind.as_str())));
    }
}

fn check_version(text: &str, results: &mut Results) {
    match version(text) {
        Some(it) if it < OLDEST => {
            let message =
                format!("Kubernetes {text} is too old: Fairway runs on {}.{} and newer", OLDEST.0, OLDEST.1);
            results.report(Diagnostic::error(Reason::KubernetesTooOld, "", message, "upgrade the cluster"));
        }
        Some(it) if it > NEWEST => {
            let message = format!(
                "Kubernetes {text} is newer than the versions that Fairway is tested with (up to {}.{})",
                NEWEST.0, NEWEST.1
            );
            results.report(Diagnostic::note(Reason::KubernetesUntested, "", message, ""));
        }
        Some(_) => results.pass(format!("Kubernetes {text}")),
        None => {
            let message = format!("the API server's version `{text}` is not understood");
            let remedy = format!("check that the cluster runs Kubernetes {}.{} or newer", OLDEST.0, OLDEST.1);
            results.report(Diagnostic::warning(Reason::KubernetesVersionUnknown, "", message, remedy));
        }
    }
}

fn check_rights(snapshot: &Snapshot, results: &mut Results) {
    let mut faults = Vec::new();
    for answered in &snapshot.rights {
        let Right { account, without, limited, .. } = &answered.right;
        match (&answered.allowed, account) {
            (Ok(true), _) => {}
            (Ok(false), None) => {
                let message = format!("you may not {}, and so {without}", answered.right);
                let remedy = "let an account install that may, such as an administrator of the cluster (cluster-admin)";
                faults.push(Diagnostic::error(Reason::InstallerLacksRight, "", message, remedy));
            }
            (Ok(false), Some(account)) => {
                let (severity, place) = match limited {
                    true => (Severity::Warning, " in every namespace"),
                    false => (Severity::Error, ""),
                };
                let message = format!("{} may not {}{place}, and so {without}", account.name, answered.right);
                let remedy = "helm upgrade fairway, which gives it its rights again; with rbac.create=false or \
                              rbac.gatewayNamespaces see docs/rbac.md";
                let fault = Diagnostic::new(severity, Reason::AccountLacksRight, "", message, remedy);
                let (namespace, name) = (account.namespace.as_str(), account.name.as_str());
                faults.push(fault.about(Subject::named("ServiceAccount", namespace, name)));
            }
            (Err(why), _) => {
                let message = format!("the API server does not say which rights there are: {why}");
                let remedy = "check as an administrator of the cluster";
                faults.push(Diagnostic::note(Reason::RightsUnknown, "", message, remedy));
            }
        }
    }
    if faults.is_empty() && !snapshot.rights.is_empty() {
        results.pass(match snapshot.installation() {
            None => "you have the rights to install",
            Some(_) => "Fairway's service accounts have their rights",
        });
    }
    results.diagnostics.extend(faults);
}
