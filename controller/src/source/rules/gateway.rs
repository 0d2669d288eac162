//! The rules of Gateways and ListenerSets.

use super::{Violation, has, items, text, violation};
use serde_json::Value;

/// Checks a Gateway's spec.
pub(super) fn check(spec: &Value, out: &mut Vec<Violation>) {
    listeners(spec, out);
    let addresses = items(spec, "spec", "addresses");
    for (index, (path, it)) in addresses.iter().enumerate() {
        let twice = addresses[..index]
            .iter()
            .any(|(_, other)| other["type"] == it["type"] && other["value"] == it["value"]);
        let routability = text(it, "routability");
        if !is_routability(routability) {
            out.push(violation(
                format!("{path}.routability"),
                format!("`{routability}` is no routability"),
                "use Cluster, or leave it out",
            ));
        }
        if has(it, "value") && twice {
            out.push(violation(
                path,
                format!("`{}` stands here twice", text(it, "value")),
                "remove one of them",
            ));
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
pub(super) fn listeners(spec: &Value, out: &mut Vec<Violation>) {
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
                format!("has the port, protocol and hostname of listener `{}`", text(first, "name"));
            out.push(violation(path, message, "change one of the three"));
        }
    }
}

fn listener(path: &str, it: &Value, out: &mut Vec<Violation>) {
    let (protocol, tls) = (text(it, "protocol"), &it["tls"]);
    let plain = matches!(protocol, "HTTP" | "TCP" | "UDP");
    if plain && !tls.is_null() {
        let message = format!("protocol {protocol} has no TLS");
        out.push(violation(format!("{path}.tls"), message, "remove it, or use protocol HTTPS"));
    }
    if matches!(protocol, "TCP" | "UDP") && !text(it, "hostname").is_empty() {
        let message = format!("protocol {protocol} has no hostnames");
        out.push(violation(format!("{path}.hostname"), message, "remove it"));
    }
    let mode = text(tls, "mode");
    if protocol == "HTTPS" && mode == "Passthrough" {
        let message = "an HTTPS listener has to end TLS";
        out.push(violation(format!("{path}.tls.mode"), message, "use mode Terminate, or protocol TLS"));
    }
    if has(it, "filters") && !matches!(protocol, "HTTP" | "HTTPS") {
        let message = format!("protocol {protocol} has no requests to filter");
        out.push(violation(format!("{path}.filters"), message, "remove them"));
    }
    if protocol == "TLS" && mode.is_empty() {
        out.push(violation(format!("{path}.tls.mode"), "is missing", "use Terminate or Passthrough"));
    }
    let is_empty = |name: &str| {
        tls[name].as_array().is_none_or(Vec::is_empty) && tls[name].as_object().is_none_or(|it| it.is_empty())
    };
    if mode == "Terminate" && is_empty("certificateRefs") && is_empty("options") {
        let message = "to end TLS takes a certificate";
        out.push(violation(
            format!("{path}.tls.certificateRefs"),
            message,
            "name a Secret of type kubernetes.io/tls",
        ));
    }
}
