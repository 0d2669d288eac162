//! The rules of filters, of a rule's and of a backend's.

use super::{has, items, route, text};
use crate::diagnostic::rule::{
    mirror_share_invalid, mirror_shares_two, prefix_replacement, redirect_with_rewrite,
};
use crate::diagnostic::{Diagnostic, Reason};
use serde_json::Value;

/// The types that may stand in a list once.
const ONCE: [&str; 5] =
    ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS"];

/// Checks the filters of a rule or of one of its backends.
pub(super) fn check(owner: &Value, rule: &Value, path: &str, out: &mut Vec<Diagnostic>) {
    let filters = items(owner, path, "filters");
    for (index, (path, it)) in filters.iter().enumerate() {
        let kind = text(it, "type");
        union(path, it, out);
        let twice = filters[..index].iter().any(|(_, other)| text(other, "type") == kind);
        if twice && ONCE.contains(&kind) {
            let (message, remedy) =
                (format!("there are two filters of type {kind}"), "merge them into one filter");
            out.push(Diagnostic::error(Reason::FilterTwice, path, message, remedy));
        }
        body(path, it, rule, out);
    }
    let has_type = |kind: &str| filters.iter().any(|(_, it)| text(it, "type") == kind);
    if has_type("RequestRedirect") && has_type("URLRewrite") {
        out.push(redirect_with_rewrite(format!("{path}.filters")));
    }
}

/// Checks the filters of a listener.
pub(super) fn of_listener(listener: &Value, path: &str, out: &mut Vec<Diagnostic>) {
    for (path, it) in items(&listener["filters"], &format!("{path}.filters"), "requests") {
        union(&path, it, out);
        external_auth(&path, it, out);
    }
}

/// A filter has the field of its type, and no field of another.
fn union(path: &str, it: &Value, out: &mut Vec<Diagnostic>) {
    let kind = text(it, "type");
    let own = field_of(kind);
    if !has(it, &own) {
        let (field, message) =
            (format!("{path}.{own}"), format!("the field is missing, and type {kind} needs it"));
        let remedy = format!("add `{own}`, or correct the type");
        out.push(Diagnostic::error(Reason::FilterFieldMissing, field, message, remedy));
    }
    let fields = it.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    for (field, _) in fields.filter(|(field, _)| *field != "type" && **field != own) {
        let (field, message) =
            (format!("{path}.{field}"), format!("the field does not belong to type {kind}"));
        let remedy = "remove it, or correct the type";
        out.push(Diagnostic::error(Reason::FilterFieldOfOtherType, field, message, remedy));
    }
}

fn external_auth(path: &str, it: &Value, out: &mut Vec<Diagnostic>) {
    if has(it, "externalAuth") {
        let backend = &it["externalAuth"]["backendRef"];
        route::backend_port(&format!("{path}.externalAuth.backendRef"), backend, out);
    }
}

/// The field that a type comes with: its name with the first word in lower case (`URLRewrite`, `urlRewrite`).
fn field_of(kind: &str) -> String {
    let capitals = kind.chars().take_while(char::is_ascii_uppercase).count();
    let first_word = if capitals > 1 && capitals < kind.len() { capitals - 1 } else { capitals };
    kind[..first_word].to_ascii_lowercase() + &kind[first_word..]
}

fn body(path: &str, it: &Value, rule: &Value, out: &mut Vec<Diagnostic>) {
    for field in ["requestRedirect", "urlRewrite"] {
        path_modifier(&format!("{path}.{field}.path"), &it[field]["path"], rule, out);
    }
    mirror(&format!("{path}.requestMirror"), &it["requestMirror"], out);
    external_auth(path, it, out);
    for list in ["allowOrigins", "allowMethods", "allowHeaders"] {
        let entries = items(&it["cors"], "", list);
        if entries.len() > 1 && entries.iter().any(|(_, it)| it.as_str() == Some("*")) {
            let field = format!("{path}.cors.{list}");
            let (message, remedy) = ("`*` stands beside other entries", "write `*` alone, or remove it");
            out.push(Diagnostic::error(Reason::CorsWildcardNotAlone, field, message, remedy));
        }
    }
}

fn path_modifier(path: &str, it: &Value, rule: &Value, out: &mut Vec<Diagnostic>) {
    if it.is_null() {
        return;
    }
    let kind = text(it, "type");
    for (name, field) in
        [("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")]
    {
        if (name == kind) != has(it, field) {
            let message = format!(
                "the type is {kind}, so {field} must {}be set",
                if name == kind { "" } else { "not " }
            );
            let (field, remedy) = (format!("{path}.{field}"), "correct the type or the field");
            out.push(Diagnostic::error(Reason::PathModifierMismatch, field, message, remedy));
        }
    }
    let matches = items(rule, "", "matches");
    let by_prefix = |(_, it): &(String, &Value)| matches!(text(&it["path"], "type"), "" | "PathPrefix");
    if kind == "ReplacePrefixMatch" && !(matches.len() == 1 && matches.iter().all(by_prefix)) {
        out.push(prefix_replacement(path));
    }
}

fn mirror(path: &str, it: &Value, out: &mut Vec<Diagnostic>) {
    if it.is_null() {
        return;
    }
    route::backend_port(&format!("{path}.backendRef"), &it["backendRef"], out);
    if has(it, "percent") && has(it, "fraction") {
        out.push(mirror_shares_two(path));
    }
    let part = |name: &str| it["fraction"][name].as_i64();
    if let (Some(numerator), Some(denominator)) = (part("numerator"), part("denominator"))
        && numerator > denominator
    {
        out.push(mirror_share_invalid(format!("{path}.fraction")));
    }
}
