//! From a document to objects.

use super::document::Document;
use super::schema::{self, Violation, violation};
use crate::resources::{Kind, Object, ObjectRef};
use serde_json::{Value, json};

/// What one manifest turned out to be.
#[derive(Debug)]
pub(super) enum Manifest {
    /// An object.
    Object(Object),
    /// An object that is not in order; it is known which one. If no version of it was ever in order, the last one stands in
    /// its place, where nothing at all in its place would open something.
    Refused(ObjectRef, Vec<Violation>, Option<Object>),
    /// Not known which object it is.
    Unknown(String, Vec<Violation>),
    /// A kind that is of no concern to us.
    Ignored(String),
}

/// Takes a document apart: one manifest, or the items of a `List`.
pub(super) fn manifests(document: Document) -> Vec<(usize, Manifest)> {
    let mut value = document.value;
    let is_list = value["kind"].as_str().is_some_and(|it| it.ends_with("List")) && value["items"].is_array();
    match value["items"].take() {
        Value::Array(items) if is_list => items.into_iter().map(|it| (document.line, manifest(it))).collect(),
        items => {
            if let (Some(map), false) = (value.as_object_mut(), items.is_null()) {
                map.insert("items".to_owned(), items);
            } else if let Some(map) = value.as_object_mut() {
                map.remove("items");
            }
            vec![(document.line, manifest(value))]
        }
    }
}

fn manifest(mut value: Value) -> Manifest {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let (api_version, word) = (text("apiVersion"), text("kind"));
    if api_version.is_empty() || word.is_empty() {
        let remedy = "write a Kubernetes object";
        let missing = if word.is_empty() { "kind" } else { "apiVersion" };
        return Manifest::Unknown(String::new(), vec![violation(missing, "is missing", remedy)]);
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
    let Some(kind) = Kind::of(group, &word) else { return unknown_kind(group, &word, &api_version) };
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if let Some(reason) = invalid_name(kind, &name) {
        return Manifest::Unknown(
            word,
            vec![violation("metadata.name", reason, "use lower-case letters, digits and dashes")],
        );
    }
    let namespace = match kind.is_namespaced() {
        true => value["metadata"]["namespace"]
            .as_str()
            .filter(|it| !it.is_empty())
            .unwrap_or("default")
            .to_owned(),
        false => String::new(),
    };
    let reference = ObjectRef::new(kind, namespace, name);
    if kind.is_namespaced()
        && let Some(reason) = invalid_label(&reference.namespace)
    {
        let remedy = "use lower-case letters, digits and dashes";
        return Manifest::Refused(reference, vec![violation("metadata.namespace", reason, remedy)], None);
    }
    let closed = closed(&reference, &value);
    if !kind.versions().contains(&version) {
        let message = format!("version `{version}` of {word} is not read");
        let remedy = format!("use {}", join(group, kind.versions()[0]));
        return Manifest::Refused(reference, vec![violation("apiVersion", message, remedy)], closed);
    }
    let violations = schema::check(kind, &mut value);
    if !violations.is_empty() {
        return Manifest::Refused(reference, violations, closed);
    }
    match Object::parse(kind, value) {
        Ok(object) => Manifest::Object(object),
        Err(error) => {
            Manifest::Refused(reference, vec![violation(error.field, error.reason, "correct it")], closed)
        }
    }
}

/// A policy that cannot be met and has the targets of this one, as far as they can be read: who wrote a BackendTLSPolicy wants
/// nothing sent to its Services in the clear, whatever else is wrong with it.
fn closed(reference: &ObjectRef, written: &Value) -> Option<Object> {
    if reference.kind != Kind::BackendTlsPolicy {
        return None;
    }
    let target = |it: &Value| {
        let name = it["name"].as_str().filter(|it| !it.is_empty())?;
        Some(json!({ "group": "", "kind": "Service", "name": name }))
    };
    let targets: Vec<Value> = written["spec"]["targetRefs"].as_array()?.iter().filter_map(target).collect();
    let policy = json!({
        "metadata": { "namespace": reference.namespace, "name": reference.name },
        "spec": { "targetRefs": targets, "validation": { "hostname": "" } },
    });
    Object::parse(reference.kind, policy).ok()
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// A kind we do not read is none of our business, unless it looks like a slip of the pen.
fn unknown_kind(group: &str, word: &str, api_version: &str) -> Manifest {
    let slip = Kind::ALL.into_iter().find(|it| {
        (it.as_str() == word && it.group().ends_with(group) && !group.is_empty())
            || (it.group() == group && it.as_str().eq_ignore_ascii_case(word))
            || (it.group() == group && schema::is_slip(word, it.as_str()))
            || (it.as_str() == word && matches!(group, "" | fairway_gateway_api::GROUP))
    });
    match slip {
        Some(kind) => {
            let remedy =
                format!("did you mean apiVersion {}, kind {kind}?", join(kind.group(), kind.versions()[0]));
            let message = format!("there is no kind {word} in {api_version}");
            Manifest::Unknown(word.to_owned(), vec![violation("kind", message, remedy)])
        }
        None => Manifest::Ignored(format!("{api_version} {word}")),
    }
}

fn invalid_name(kind: Kind, name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is missing".to_owned());
    }
    match kind {
        Kind::Namespace | Kind::Service => invalid_label(name),
        _ if name.len() > 253 => Some(format!("`{name}` has more than 253 characters")),
        _ => name.split('.').find_map(invalid_characters).map(|_| format!("`{name}` is not a name")),
    }
}

fn invalid_label(name: &str) -> Option<String> {
    match name.len() {
        0..=63 => invalid_characters(name),
        _ => Some(format!("`{name}` has more than 63 characters")),
    }
}

fn invalid_characters(label: &str) -> Option<String> {
    let ok = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    let right = label.starts_with(ok) && label.ends_with(ok) && label.chars().all(|it| ok(it) || it == '-');
    (!right).then(|| format!("`{label}` is not a name"))
}
