//! The rules of policies.

use super::{Violation, has, items, text, violation};
use serde_json::Value;

/// Checks a BackendTLSPolicy's spec.
pub(super) fn backend_tls(spec: &Value, out: &mut Vec<Violation>) {
    targets(spec, out);
    let (path, validation) = ("spec.validation", &spec["validation"]);
    let refs = !items(validation, path, "caCertificateRefs").is_empty();
    let well_known = !text(validation, "wellKnownCACertificates").is_empty();
    match (refs, well_known) {
        (true, true) => {
            let message = "names authorities both by caCertificateRefs and by wellKnownCACertificates";
            out.push(violation(path, message, "keep one of them"));
        }
        (false, false) => {
            let message = "does not say who signs the backend's certificate";
            out.push(violation(path, message, "write caCertificateRefs, or wellKnownCACertificates: System"));
        }
        _ => {}
    }
    for (path, it) in items(validation, path, "subjectAltNames") {
        for (kind, field) in [("Hostname", "hostname"), ("URI", "uri")] {
            let (is_kind, is_there) = (text(it, "type") == kind, !text(it, field).is_empty());
            if is_kind && !is_there {
                let remedy = format!("write it, type {kind} needs it");
                out.push(violation(format!("{path}.{field}"), "is missing", remedy));
            } else if !is_kind && is_there {
                let message = format!("does not belong to type {}", text(it, "type"));
                out.push(violation(format!("{path}.{field}"), message, "remove it, or correct the type"));
            }
        }
    }
}

/// Two references to one target must differ in section, and both must name one.
fn targets(spec: &Value, out: &mut Vec<Violation>) {
    let targets = items(spec, "spec", "targetRefs");
    let same = |a: &Value, b: &Value, names: &[&str]| names.iter().all(|it| text(a, it) == text(b, it));
    for (index, (path, it)) in targets.iter().enumerate() {
        let others = targets[..index].iter().filter(|(_, other)| same(it, other, &["group", "kind", "name"]));
        let is_double = |other: &Value| {
            has(it, "sectionName") != has(other, "sectionName") || same(it, other, &["sectionName"])
        };
        if others.into_iter().any(|(_, other)| is_double(other)) {
            let message = "names the same target as another";
            out.push(violation(path, message, "give each of them a sectionName of its own"));
        }
    }
}
