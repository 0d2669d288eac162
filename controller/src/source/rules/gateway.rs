//! The rules of Gateways and ListenerSets.

use super::{filter, has, items, text};
use crate::diagnostic::rule::{certificate_missing, https_passthrough};
use crate::diagnostic::{Diagnostic, Reason};
use serde_json::Value;

/// Checks a Gateway's spec.
pub(super) fn check(spec: &Value, out: &mut Vec<Diagnostic>) {
    listeners(spec, out);
    frontend(spec, out);
    let addresses = items(spec, "spec", "addresses");
    for (index, (path, it)) in addresses.iter().enumerate() {
        let twice = addresses[..index]
            .iter()
            .any(|(_, other)| other["type"] == it["type"] && other["value"] == it["value"]);
        let routability = text(it, "routability");
        if !is_routability(routability) {
            let (field, message) =
                (format!("{path}.routability"), format!("`{routability}` is not a routability"));
            let remedy = "use Cluster, or remove the field";
            out.push(Diagnostic::error(Reason::RoutabilityInvalid, field, message, remedy));
        }
        if has(it, "value") && twice {
            let message = format!("the address `{}` is in this list twice", text(it, "value"));
            out.push(Diagnostic::error(Reason::AddressDuplicate, path, message, "remove one of them"));
        }
    }
}

/// The authorities of clients, of all ports and of each: a ClusterTrustBundle has no namespace.
fn frontend(spec: &Value, out: &mut Vec<Diagnostic>) {
    let (path, frontend) = ("spec.tls.frontend", &spec["tls"]["frontend"]);
    let ports =
        items(frontend, path, "perPort").into_iter().map(|(path, it)| (format!("{path}.tls"), &it["tls"]));
    for (path, it) in ports.chain([(format!("{path}.default"), &frontend["default"])]) {
        for (path, it) in items(&it["validation"], &format!("{path}.validation"), "caCertificateRefs") {
            let is_bundle =
                text(it, "group") == "certificates.k8s.io" && text(it, "kind") == "ClusterTrustBundle";
            if is_bundle && has(it, "namespace") {
                let (field, message) =
                    (format!("{path}.namespace"), "a reference to a ClusterTrustBundle has no namespace");
                out.push(Diagnostic::error(Reason::TrustBundleNamespace, field, message, "remove it"));
            }
        }
    }
}

/// Nothing, `Cluster`, or an implementation's own `<domain>/<path>`; k8s.io is reserved.
fn is_routability(text: &str) -> bool {
    let prefixed = text.split_once('/').is_some_and(|(domain, path)| {
        let label = |it: &str| {
            let ok = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
            it.starts_with(ok) && it.ends_with(ok) && it.chars().all(|it| ok(it) || it == '-')
        };
        let is_reserved = domain == "k8s.io" || domain.ends_with(".k8s.io");
        !path.is_empty() && domain.len() <= 253 && domain.split('.').all(label) && !is_reserved
    });
    text.is_empty() || text == "Cluster" || prefixed
}

/// Checks the listeners of a Gateway or a ListenerSet.
pub(super) fn listeners(spec: &Value, out: &mut Vec<Diagnostic>) {
    let listeners = items(spec, "spec", "listeners");
    for (index, (path, it)) in listeners.iter().enumerate() {
        listener(path, it, out);
        let same = |other: &Value| {
            other["port"] == it["port"]
                && text(other, "protocol") == text(it, "protocol")
                && text(other, "hostname") == text(it, "hostname")
        };
        if let Some((_, first)) = listeners[..index].iter().find(|(_, other)| same(other)) {
            let message =
                format!("listener `{}` has the same port, protocol and hostname", text(first, "name"));
            let remedy = "change one of the three";
            out.push(Diagnostic::error(Reason::ListenerDuplicate, path, message, remedy));
        }
    }
}

fn listener(path: &str, it: &Value, out: &mut Vec<Diagnostic>) {
    let (protocol, tls) = (text(it, "protocol"), &it["tls"]);
    let plain = matches!(protocol, "HTTP" | "TCP" | "UDP");
    if plain && !tls.is_null() {
        let (field, message) =
            (format!("{path}.tls"), format!("a listener with protocol {protocol} has no TLS"));
        let remedy = "remove it, or use protocol HTTPS or TLS";
        out.push(Diagnostic::error(Reason::ListenerTlsNotAllowed, field, message, remedy));
    }
    if matches!(protocol, "TCP" | "UDP") && !text(it, "hostname").is_empty() {
        let (field, message) =
            (format!("{path}.hostname"), format!("a listener with protocol {protocol} has no hostname"));
        out.push(Diagnostic::error(Reason::ListenerHostnameNotAllowed, field, message, "remove it"));
    }
    let mode = text(tls, "mode");
    if protocol == "HTTPS" && mode == "Passthrough" {
        out.push(https_passthrough(format!("{path}.tls.mode")));
    }
    if has(it, "filters") && !matches!(protocol, "HTTP" | "HTTPS") {
        let (field, message) =
            (format!("{path}.filters"), format!("a listener with protocol {protocol} has no filters"));
        out.push(Diagnostic::error(Reason::ListenerFiltersNotAllowed, field, message, "remove them"));
    }
    filter::of_listener(it, path, out);
    if protocol == "TLS" && mode.is_empty() {
        let (field, message) = (format!("{path}.tls.mode"), "the mode is missing, and protocol TLS needs it");
        out.push(Diagnostic::error(
            Reason::ListenerTlsModeMissing,
            field,
            message,
            "use Terminate or Passthrough",
        ));
    }
    let is_empty = |name: &str| {
        tls[name].as_array().is_none_or(Vec::is_empty) && tls[name].as_object().is_none_or(|it| it.is_empty())
    };
    if mode == "Terminate" && is_empty("certificateRefs") && is_empty("options") {
        out.push(certificate_missing(format!("{path}.tls.certificateRefs")));
    }
}
