//! The rules of filters, of a rule's and of a backend's.

use super::{Violation, has, items, route, text, violation};
use serde_json::Value;

/// The types of filters and the field each comes with.
const TYPES: [(&str, &str); 8] = [
    ("RequestHeaderModifier", "requestHeaderModifier"),
    ("ResponseHeaderModifier", "responseHeaderModifier"),
    ("RequestMirror", "requestMirror"),
    ("RequestRedirect", "requestRedirect"),
    ("URLRewrite", "urlRewrite"),
    ("CORS", "cors"),
    ("ExtensionRef", "extensionRef"),
    ("ExternalAuth", "externalAuth"),
];
/// Those that may stand in a list more than once.
const REPEATABLE: [&str; 3] = ["RequestMirror", "ExtensionRef", "ExternalAuth"];

/// Checks the filters of a rule or of one of its backends.
pub(super) fn check(owner: &Value, rule: &Value, path: &str, out: &mut Vec<Violation>) {
    let filters = items(owner, path, "filters");
    for (index, (path, it)) in filters.iter().enumerate() {
        let kind = text(it, "type");
        for (name, field) in TYPES {
            if name == kind && !has(it, field) {
                out.push(violation(
                    format!("{path}.{field}"),
                    "is missing",
                    format!("write it, type {kind} needs it"),
                ));
            } else if name != kind && has(it, field) {
                let message = format!("does not belong to type {kind}");
                out.push(violation(format!("{path}.{field}"), message, "remove it, or correct the type"));
            }
        }
        let twice = filters[..index].iter().any(|(_, other)| text(other, "type") == kind);
        if twice && !REPEATABLE.contains(&kind) {
            out.push(violation(path, format!("{kind} stands here twice"), "make one of the two"));
        }
        body(path, it, rule, out);
    }
    let has_type = |kind: &str| filters.iter().any(|(_, it)| text(it, "type") == kind);
    if has_type("RequestRedirect") && has_type("URLRewrite") {
        let message = "RequestRedirect and URLRewrite cannot stand together";
        out.push(violation(format!("{path}.filters"), message, "keep one of them"));
    }
}

fn body(path: &str, it: &Value, rule: &Value, out: &mut Vec<Violation>) {
    for field in ["requestRedirect", "urlRewrite"] {
        path_modifier(&format!("{path}.{field}.path"), &it[field]["path"], rule, out);
    }
    mirror(&format!("{path}.requestMirror"), &it["requestMirror"], out);
    for list in ["allowOrigins", "allowMethods", "allowHeaders"] {
        let entries = items(&it["cors"], "", list);
        if entries.len() > 1 && entries.iter().any(|(_, it)| it.as_str() == Some("*")) {
            let field = format!("{path}.cors.{list}");
            out.push(violation(field, "`*` stands with others", "write `*` alone, or leave it out"));
        }
    }
}

fn path_modifier(path: &str, it: &Value, rule: &Value, out: &mut Vec<Violation>) {
    if it.is_null() {
        return;
    }
    let kind = text(it, "type");
    for (name, field) in
        [("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")]
    {
        if (name == kind) != has(it, field) {
            let message =
                format!("type is {kind}, so {field} must {}be there", if name == kind { "" } else { "not " });
            out.push(violation(format!("{path}.{field}"), message, "correct the type or the field"));
        }
    }
    let matches = items(rule, "", "matches");
    let by_prefix = |(_, it): &(String, &Value)| matches!(text(&it["path"], "type"), "" | "PathPrefix");
    if kind == "ReplacePrefixMatch" && !(matches.len() == 1 && matches.iter().all(by_prefix)) {
        let message = "to replace the matched prefix takes a rule with exactly one match, by PathPrefix";
        out.push(violation(path, message, "split the rule, or use ReplaceFullPath"));
    }
}

fn mirror(path: &str, it: &Value, out: &mut Vec<Violation>) {
    if it.is_null() {
        return;
    }
    route::backend_port(&format!("{path}.backendRef"), &it["backendRef"], out);
    if has(it, "percent") && has(it, "fraction") {
        out.push(violation(path, "percent and fraction cannot stand together", "keep one of them"));
    }
    let part = |name: &str| it["fraction"][name].as_i64();
    if let (Some(numerator), Some(denominator)) = (part("numerator"), part("denominator"))
        && numerator > denominator
    {
        let message = format!("{numerator}/{denominator} is more than the whole");
        out.push(violation(
            format!("{path}.fraction"),
            message,
            "use a numerator of at most the denominator",
        ));
    }
}
