//! The rules of policies.

use super::{has, items, text};
use crate::diagnostic::rule::{policy_names_no_authority, policy_names_two_authorities};
use crate::diagnostic::{Diagnostic, Reason};
use serde_json::Value;

/// Checks a BackendTLSPolicy's spec.
pub(super) fn backend_tls(spec: &Value, out: &mut Vec<Diagnostic>) {
    targets(spec, out);
    let (path, validation) = ("spec.validation", &spec["validation"]);
    let refs = !items(validation, path, "caCertificateRefs").is_empty();
    let well_known = !text(validation, "wellKnownCACertificates").is_empty();
    match (refs, well_known) {
        (true, true) => {
            out.push(policy_names_two_authorities(path));
        }
        (false, false) => {
            out.push(policy_names_no_authority(path));
        }
        _ => {}
    }
    for (path, it) in items(validation, path, "subjectAltNames") {
        for (kind, field) in [("Hostname", "hostname"), ("URI", "uri")] {
            let (is_kind, is_there) = (text(it, "type") == kind, !text(it, field).is_empty());
            if is_kind && !is_there {
                let (field, message) =
                    (format!("{path}.{field}"), format!("the field is missing, and type {kind} needs it"));
                let remedy = if kind == "URI" { "add `uri`" } else { "add `hostname`" };
                out.push(Diagnostic::error(Reason::SubjectAltNameMissing, field, message, remedy));
            } else if !is_kind && is_there {
                let message = format!("the field does not belong to type {}", text(it, "type"));
                let (field, remedy) = (format!("{path}.{field}"), "remove it, or correct the type");
                out.push(Diagnostic::error(Reason::SubjectAltNameOfOtherType, field, message, remedy));
            }
        }
    }
}

/// Two references to one target must differ in section, and both must name one.
fn targets(spec: &Value, out: &mut Vec<Diagnostic>) {
    let targets = items(spec, "spec", "targetRefs");
    let same = |a: &Value, b: &Value, names: &[&str]| names.iter().all(|it| text(a, it) == text(b, it));
    for (index, (path, it)) in targets.iter().enumerate() {
        let others = targets[..index].iter().filter(|(_, other)| same(it, other, &["group", "kind", "name"]));
        let is_double = |other: &Value| {
            has(it, "sectionName") != has(other, "sectionName") || same(it, other, &["sectionName"])
        };
        if others.into_iter().any(|(_, other)| is_double(other)) {
            let message = "another entry refers to the same target";
            let remedy = "give each of them a sectionName of its own";
            out.push(Diagnostic::error(Reason::PolicyTargetDuplicate, path, message, remedy));
        }
    }
}
