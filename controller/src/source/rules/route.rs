//! The rules of routes.

use super::{filter, has, items, text};
use crate::diagnostic::rule::{backend_timeout_too_long, path_not_absolute, redirect_with_backends};
use crate::diagnostic::{Diagnostic, Reason};
use regex::Regex;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

/// Checks an HTTPRoute's spec.
pub(super) fn http(spec: &Value, out: &mut Vec<Diagnostic>) {
    common(spec, out);
    for (path, rule) in items(spec, "spec", "rules") {
        for (path, it) in items(rule, &path, "matches") {
            http_path(&format!("{path}.path"), &it["path"], out);
        }
        filter::check(rule, rule, &path, out);
        for (path, backend) in items(rule, &path, "backendRefs") {
            filter::check(backend, rule, &path, out);
        }
        let redirects =
            items(rule, &path, "filters").iter().any(|(_, it)| text(it, "type") == "RequestRedirect");
        if redirects && !items(rule, &path, "backendRefs").is_empty() {
            out.push(redirect_with_backends(format!("{path}.backendRefs")));
        }
        timeouts(&format!("{path}.timeouts"), &rule["timeouts"], out);
    }
}

/// Checks a GRPCRoute's spec.
pub(super) fn grpc(spec: &Value, out: &mut Vec<Diagnostic>) {
    common(spec, out);
    for (path, rule) in items(spec, "spec", "rules") {
        for (path, it) in items(rule, &path, "matches") {
            grpc_method(&format!("{path}.method"), &it["method"], out);
        }
        filter::check(rule, rule, &path, out);
        for (path, backend) in items(rule, &path, "backendRefs") {
            filter::check(backend, rule, &path, out);
        }
    }
}

/// Checks the spec of a TLSRoute, TCPRoute or UDPRoute.
pub(super) fn l4(spec: &Value, out: &mut Vec<Diagnostic>) {
    common(spec, out);
    for (index, it) in spec["hostnames"].as_array().into_iter().flatten().enumerate() {
        let hostname = it.as_str().unwrap_or_default();
        if hostname.parse::<IpAddr>().is_ok() {
            let message = format!("`{hostname}` is an IP address, and clients send only DNS names as SNI");
            let field = format!("spec.hostnames[{index}]");
            out.push(Diagnostic::error(Reason::RouteHostnameIsAddress, field, message, "write a DNS name"));
        }
    }
}

fn common(spec: &Value, out: &mut Vec<Diagnostic>) {
    parents(spec, out);
    let rules = items(spec, "spec", "rules");
    let matches: usize = rules.iter().map(|(path, it)| items(it, path, "matches").len()).sum();
    if matches > 128 {
        let message = format!("the rules have {matches} matches together");
        let remedy = "use at most 128 in all rules";
        out.push(Diagnostic::error(Reason::TooManyMatches, "spec.rules", message, remedy));
    }
    for (index, (path, rule)) in rules.iter().enumerate() {
        let name = text(rule, "name");
        if !name.is_empty() && rules[..index].iter().any(|(_, other)| text(other, "name") == name) {
            let (field, message) = (format!("{path}.name"), format!("two rules have the name `{name}`"));
            out.push(Diagnostic::error(Reason::RuleNameDuplicate, field, message, "rename one of them"));
        }
        for (path, backend) in items(rule, path, "backendRefs") {
            backend_port(&path, backend, out);
        }
    }
}

/// A reference to a Service names a port.
pub(super) fn backend_port(path: &str, backend: &Value, out: &mut Vec<Diagnostic>) {
    let is_service = text(backend, "group").is_empty() && matches!(text(backend, "kind"), "" | "Service");
    if is_service && !has(backend, "port") {
        let (field, message) = (format!("{path}.port"), "the port is missing, and a Service needs it");
        out.push(Diagnostic::error(
            Reason::BackendPortMissing,
            field,
            message,
            "write a port of the Service",
        ));
    }
}

/// Two references to one parent must differ in section or port, and both must name it.
fn parents(spec: &Value, out: &mut Vec<Diagnostic>) {
    let parents = items(spec, "spec", "parentRefs");
    let same = |a: &Value, b: &Value, names: &[&str]| names.iter().all(|it| text(a, it) == text(b, it));
    for (index, (path, it)) in parents.iter().enumerate() {
        let target = ["group", "kind", "namespace", "name"];
        for (_, other) in parents[..index].iter().filter(|(_, other)| same(it, other, &target)) {
            let named = |it: &Value| (!text(it, "sectionName").is_empty(), has(it, "port"));
            if named(it) != named(other) || (same(it, other, &["sectionName"]) && it["port"] == other["port"])
            {
                let message = "another entry refers to the same parent";
                let remedy = "give each of them a sectionName or port of its own";
                out.push(Diagnostic::error(Reason::ParentDuplicate, path, message, remedy));
                break;
            }
        }
    }
}

static PATH_CHARACTERS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$").ok());

fn http_path(path: &str, it: &Value, out: &mut Vec<Diagnostic>) {
    let value = text(it, "value");
    if it.is_null() || text(it, "type") == "RegularExpression" {
        return;
    }
    let field = format!("{path}.value");
    if !value.starts_with('/') {
        out.push(path_not_absolute(&field, value));
    }
    let segments = ["//", "/./", "/../", "%2f", "%2F", "#"];
    if let Some(bad) = segments.iter().find(|it| value.contains(**it)) {
        let remedy = match *bad {
            "%2f" | "%2F" => "match the part of the path before it: an encoded / is not matched".to_owned(),
            _ => format!("write `{}`", without_dots(value)),
        };
        let message = format!("`{value}` contains {bad}");
        out.push(Diagnostic::error(Reason::PathNotNormal, field, message, remedy));
    } else if value.ends_with("/..") || value.ends_with("/.") {
        let (message, remedy) =
            (format!("`{value}` ends with a dot segment"), format!("write `{}`", without_dots(value)));
        out.push(Diagnostic::error(Reason::PathEndsWithDots, field, message, remedy));
    } else if PATH_CHARACTERS.as_ref().is_some_and(|it| !value.is_empty() && !it.is_match(value)) {
        let (message, remedy) =
            (format!("`{value}` has characters that a path cannot have"), "percent-encode them");
        out.push(Diagnostic::error(Reason::PathCharactersInvalid, field, message, remedy));
    }
}

/// The path without dot segments (RFC 3986 §5.2.4), empty segments and fragment.
fn without_dots(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let is_directory = ["/", "/.", "/.."].iter().any(|it| path.ends_with(it)) && !kept.is_empty();
    format!("/{}{}", kept.join("/"), if is_directory { "/" } else { "" })
}

static GRPC_SERVICE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(?i)\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$").ok());
static GRPC_METHOD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[A-Za-z_][A-Za-z_0-9]*$").ok());

fn grpc_method(path: &str, it: &Value, out: &mut Vec<Diagnostic>) {
    if it.is_null() {
        return;
    }
    if !has(it, "service") && !has(it, "method") {
        let (message, remedy) =
            ("there is neither a service nor a method", "write one of them, or remove the field");
        out.push(Diagnostic::error(Reason::GrpcMethodEmpty, path, message, remedy));
    }
    if text(it, "type") == "RegularExpression" {
        return;
    }
    for (name, form) in [("service", &GRPC_SERVICE), ("method", &GRPC_METHOD)] {
        let value = text(it, name);
        if has(it, name) && form.as_ref().is_some_and(|form| !form.is_match(value)) {
            let (field, message) =
                (format!("{path}.{name}"), format!("`{value}` is not the name of a gRPC {name}"));
            let remedy = "use letters, digits and underscores (and dots in a service)";
            out.push(Diagnostic::error(Reason::GrpcNameInvalid, field, message, remedy));
        }
    }
}

fn timeouts(path: &str, it: &Value, out: &mut Vec<Diagnostic>) {
    let limit = |name: &str| crate::resources::parse_duration(text(it, name)).ok();
    if let (Some(request), Some(backend)) = (limit("request"), limit("backendRequest"))
        && request > Duration::ZERO
        && backend > request
    {
        out.push(backend_timeout_too_long(format!("{path}.backendRequest")));
    }
}
