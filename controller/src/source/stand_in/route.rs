//! What can be read of a route that cannot be read: where it attaches, and which requests it may mean.
//!
//! Of a match each predicate that cannot be read is left out, so what is left matches at least what was meant.

use crate::resources::{Kind, RouteKind};
use crate::source::schema;
use serde_json::{Map, Value, json};

/// A spec with the parents, hostnames and matches; none where it cannot be said for which hosts the route is.
pub(super) fn spec(kind: Kind, written: &Value) -> Option<Value> {
    let mut spec = Map::new();
    let parents = written["parentRefs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let parents: Vec<Value> = parents.iter().filter_map(|it| parent(kind, it)).collect();
    if parents.is_empty() {
        return None;
    }
    spec.insert("parentRefs".to_owned(), parents.into());
    let has_hostnames = !matches!(kind.as_route()?, RouteKind::Tcp | RouteKind::Udp);
    if has_hostnames && !written["hostnames"].is_null() {
        let hostnames = written["hostnames"].as_array()?;
        let reads = |it: &&Value| is_valid(kind, &json!({ "hostnames": [it] }), "spec.hostnames");
        let readable: Vec<Value> = hostnames.iter().filter(reads).cloned().collect();
        // None would be all.
        if readable.is_empty() && !hostnames.is_empty() {
            return None;
        }
        spec.insert("hostnames".to_owned(), readable.into());
    }
    let rules: Vec<Value> = match kind.as_route()? {
        RouteKind::Http | RouteKind::Grpc => match &written["rules"] {
            Value::Null => vec![json!({})],
            rules => rules.as_array()?.iter().map(|it| rule(kind, it)).collect(),
        },
        RouteKind::Tls | RouteKind::Tcp | RouteKind::Udp => vec![json!({ "backendRefs": [] })],
    };
    spec.insert("rules".to_owned(), rules.into());
    Some(spec.into())
}

fn parent(kind: Kind, written: &Value) -> Option<Value> {
    let written = written.as_object()?;
    let mut kept = Map::new();
    for field in ["group", "kind", "namespace", "name", "sectionName", "port"] {
        let Some(value) = written.get(field) else { continue };
        let mut part = Map::from_iter([("name".to_owned(), json!("any"))]);
        part.insert(field.to_owned(), value.clone());
        // Nobody knows who is meant if one of the parts of the name cannot be read.
        if !is_valid(kind, &json!({ "parentRefs": [part] }), "spec.parentRefs") {
            return None;
        }
        kept.insert(field.to_owned(), value.clone());
    }
    kept.contains_key("name").then(|| kept.into())
}

/// A rule with its matches alone.
fn rule(kind: Kind, written: &Value) -> Value {
    match written["matches"].as_array() {
        Some(matches) if !matches.is_empty() => {
            let matches: Vec<Value> = matches.iter().map(|it| one_match(kind, it)).collect();
            json!({ "matches": matches })
        }
        _ => json!({}),
    }
}

fn one_match(kind: Kind, written: &Value) -> Value {
    let reads = |it: &Value| is_valid(kind, &json!({ "rules": [{ "matches": [it] }] }), "spec.rules");
    if reads(written) {
        return written.clone();
    }
    let mut kept = Map::new();
    for (field, value) in written.as_object().into_iter().flatten() {
        match value.as_array() {
            // Each entry is a predicate of its own.
            Some(entries) => {
                let reads = |it: &&Value| reads(&json!({ field: [it] }));
                let entries: Vec<Value> = entries.iter().filter(reads).cloned().collect();
                if !entries.is_empty() {
                    kept.insert(field.clone(), entries.into());
                }
            }
            None if reads(&json!({ field: value })) => drop(kept.insert(field.clone(), value.clone())),
            None => {}
        }
    }
    let kept = Value::from(kept);
    // Each by itself is in order, and all together are not: a rule about several of them.
    if reads(&kept) { kept } else { json!({}) }
}

/// Whether the schema has nothing against a part of a spec, at this place.
fn is_valid(kind: Kind, spec: &Value, place: &str) -> bool {
    let mut manifest = json!({ "metadata": { "name": "any" }, "spec": spec });
    schema::check(kind, &mut manifest).iter().all(|error| !error.field.starts_with(place))
}

#[cfg(test)]
mod tests;
