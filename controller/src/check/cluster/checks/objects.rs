//! Gateways, routes and policies: what compiling makes of them here, and what the cluster says of them.

use super::super::results::Results;
use super::super::snapshot::Snapshot;
use crate::check::{self, endpoints};
use crate::compile::{CONTROLLER_NAME, Capture, CompileSettings, Compiler};
use crate::diagnostic::{Diagnostic, Reason, Severity, Subject};
use crate::resources::{Kind, ObjectRef};
use crate::source::cluster::Understood;
use crate::status::reason;
use crate::status::{ObjectStatus, Record};
use fairway_identity::TrustDomain;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What compiling makes of the cluster's objects; nothing where they could not all be read.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    problems: Vec<Diagnostic>,
    statuses: BTreeMap<ObjectRef, ObjectStatus>,
    records: HashMap<ObjectRef, Arc<Record>, ahash::RandomState>,
}

/// A condition in the cluster, and what of the object it is about.
struct Written<'a> {
    of: String,
    kind: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
}

/// Compiles what was read. Half a cluster is not compiled: what is missing would be taken for an error.
pub(super) fn compile(snapshot: &Snapshot) -> Compiled {
    if snapshot.inventory.unread().any(|(kind, _)| !kind.is_optional()) {
        return Compiled::default();
    }
    let Some(settings) = settings(snapshot) else { return Compiled::default() };
    let Understood { edits, problems, records } = snapshot.inventory.understand();
    let mut compiler = Compiler::new(settings);
    compiler.apply(edits.iter().cloned());
    let without_endpoints = endpoints::missing(&edits, &compiler);
    let problems =
        problems.into_iter().chain(compiler.problems().cloned()).chain(without_endpoints).collect();
    let statuses = compiler.statuses().map(|(object, it)| (object.clone(), it.clone())).collect();
    Compiled { problems, statuses, records }
}

/// Why a cluster cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum NotCompiled {
    /// What is missing would be taken for an answer.
    #[error("{kind} objects cannot be read: {why}")]
    Unread {
        /// The kind that cannot be read.
        kind: &'static str,
        /// What the API server said.
        why: String,
    },
    /// The controller there does not run with what it is told.
    #[error("the trust domain that the controller is told is none")]
    Settings,
}

/// Compiles what was read, as the controller there does.
pub fn compile_snapshot(snapshot: &Snapshot) -> Result<check::Compiled, NotCompiled> {
    // Few may read Secrets. Without them listeners that end TLS are closed, and that is said.
    let missing = snapshot.inventory.unread().find(|(kind, _)| !kind.is_optional() && *kind != Kind::Secret);
    if let Some((kind, why)) = missing {
        return Err(NotCompiled::Unread { kind: kind.as_str(), why: why.to_owned() });
    }
    let settings = settings(snapshot).ok_or(NotCompiled::Settings)?;
    let Understood { edits, problems, .. } = snapshot.inventory.understand();
    let has_secrets = snapshot.inventory.unread().all(|(kind, _)| kind != Kind::Secret);
    Ok(check::Compiled::of_edits(edits, problems, settings).with_secrets(has_secrets))
}

/// As the controller there compiles; none where what it is told makes no sense, so that it does not run.
fn settings(snapshot: &Snapshot) -> Option<CompileSettings> {
    let installation = snapshot.installation();
    let argument = |name: &str| installation.as_ref().and_then(|it| it.argument(name));
    let domain = TrustDomain::new(argument("trust-domain").unwrap_or("cluster.local")).ok()?;
    let settings = CompileSettings::kubernetes(domain);
    Some(CompileSettings {
        capture: if snapshot.has_mesh() { Capture::On } else { Capture::Off },
        rights: crate::program::told_rights(argument),
        proxy_image: argument("waypoint-image").map(Into::into),
        mesh_name: argument("mesh-name").map_or(settings.mesh_name.clone(), Into::into),
        ..settings
    })
}

pub(super) fn check(snapshot: &Snapshot, compiled: &Compiled) -> Results {
    let mut results = Results { diagnostics: compiled.problems.clone(), ..Results::default() };
    let installed = snapshot.installation().is_some();
    let troubled: BTreeSet<ObjectRef> =
        compiled.problems.iter().filter_map(|it| it.object.as_ref()?.object()).collect();
    for (object, status) in &compiled.statuses {
        let written = compiled.records.get(object).map(|it| it.parsed()).unwrap_or_default();
        let conditions = written_conditions(&written);
        if installed && conditions.is_empty() {
            let message = "the controller has not written its status yet";
            let remedy = "see which controller leads (above), and its log";
            results.report(Diagnostic::warning(Reason::StatusMissing, "", message, remedy).about(object));
        }
        // What compiling explains has been said, with field and remedy.
        let explained: BTreeSet<&str> = match troubled.contains(object) {
            true => status.conditions().iter().filter(|(_, it)| it.is_bad()).map(|(_, it)| it.kind).collect(),
            false => BTreeSet::new(),
        };
        let is_bad = |it: &Written<'_>| reason::is_ours(it.kind) && !reason::is_good(it.kind, it.status);
        let bad_whole: BTreeSet<&str> =
            conditions.iter().filter(|it| it.of.is_empty() && is_bad(it)).map(|it| it.kind).collect();
        for it in conditions.iter().filter(|it| is_bad(it) && !explained.contains(it.kind)) {
            // What is said of the whole need not be said of each part.
            if it.of.is_empty() || !bad_whole.contains(it.kind) {
                results.report(describe(it).about(object));
            }
        }
    }
    if results.is_good() && !compiled.statuses.is_empty() {
        results.pass(format!("Gateways, routes and policies without a fault: {}", compiled.statuses.len()));
    }
    results
}

/// What to do about a resource that a proxy refuses.
const REFUSED: &str = "see the log of the proxy: it has another version than the controller, or a fault";

/// A condition that only the cluster knows to be bad.
fn describe(it: &Written<'_>) -> Diagnostic {
    let severity = match it.kind {
        // It works meanwhile, in another way.
        reason::BOUND | reason::THROUGH_WAYPOINT | reason::OVERLAPPING_TLS_CONFIG => Severity::Warning,
        reason::IGNORED_FIELDS => Severity::Warning,
        _ if [reason::PENDING, reason::NOT_ACKNOWLEDGED].contains(&it.reason) => Severity::Warning,
        _ => Severity::Error,
    };
    let remedy = match it.kind {
        reason::PROGRAMMED => {
            "see kubectl describe gateway, and the pods with its label gateway.networking.k8s.io/gateway-name"
        }
        reason::REFUSED => REFUSED,
        reason::ENFORCED if it.reason == reason::REFUSED_BY_PROXY => REFUSED,
        reason::ENFORCED => "see the Gateway that is named and its pods (waypoints: docs/waypoints.md)",
        reason::BOUND | reason::THROUGH_WAYPOINT => {
            "see the Gateway of the waypoint and its pods (docs/waypoints.md)"
        }
        _ => "see kubectl describe of the object",
    };
    let of = if it.of.is_empty() { String::new() } else { format!("{}: ", it.of) };
    let Written { kind, status, reason, message, .. } = it;
    let message = format!("{of}condition {kind} is {status} ({reason}): {message}");
    Diagnostic::new(severity, Reason::ConditionBad, "status.conditions", message, remedy)
}

/// The conditions of an object's status that are this controller's to write.
fn written_conditions(status: &Value) -> Vec<Written<'_>> {
    let mut out = Vec::new();
    out.extend(conditions("", status));
    for listener in each(&status["listeners"]) {
        out.extend(conditions(&format!("listener {}", text(&listener["name"])), listener));
    }
    for (list, of) in [("parents", "parentRef"), ("ancestors", "ancestorRef")] {
        for entry in each(&status[list]) {
            if text(&entry["controllerName"]) == CONTROLLER_NAME {
                let name = format!("{} {}", list.trim_end_matches('s'), text(&entry[of]["name"]));
                out.extend(conditions(&name, entry));
            }
        }
    }
    out
}

fn conditions<'a>(of: &str, holder: &'a Value) -> Vec<Written<'a>> {
    let written = |it: &'a Value| Written {
        of: of.to_owned(),
        kind: text(&it["type"]),
        status: text(&it["status"]),
        reason: text(&it["reason"]),
        message: text(&it["message"]),
    };
    each(&holder["conditions"]).map(written).collect()
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

// === impl Compiled ===

impl Compiled {
    /// Whether something is reported of this label or annotation of an object.
    pub(super) fn reports_key(&self, object: &Subject, key: &str) -> bool {
        let is_about = |it: &Diagnostic| it.object.as_deref() == Some(object);
        self.problems.iter().any(|it| it.field.contains(key) && is_about(it))
    }
}
