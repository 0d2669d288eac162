//! From a document to objects.

use super::document::Document;
use super::schema;
use super::stand_in::StandIn;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, Object, ObjectRef};
use serde_json::Value;

/// What one manifest turned out to be.
#[derive(Debug)]
pub(super) enum Manifest {
    /// A valid object of a kind that is read.
    Object(Object),
    /// An object that is not valid; it is known which one. The object at the end takes its place if no version of it was ever
    /// valid, where nothing at all in its place would open something.
    Refused(ObjectRef, Vec<Diagnostic>, Option<Object>),
    /// Not known which object it is; the kind, if it has one.
    Unknown(String, Vec<Diagnostic>),
    /// A kind that is not read: its apiVersion and kind, and what is said of it.
    Unread(String, Diagnostic),
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
        let field = if word.is_empty() { "kind" } else { "apiVersion" };
        let message = format!("{field} is missing, so this is not a Kubernetes object");
        let error = Diagnostic::error(Reason::NotAnObject, field, message, "write apiVersion and kind");
        return Manifest::Unknown(word, vec![error]);
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
    let Some(kind) = Kind::named(group, &word) else { return unknown_kind(group, &word, &api_version) };
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if let Some(reason) = invalid_name(kind, &name) {
        let remedy = "write a name of lower-case letters, digits and dashes";
        let error = Diagnostic::error(Reason::ObjectNameInvalid, "metadata.name", reason, remedy);
        return Manifest::Unknown(word, vec![error]);
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
        let error = Diagnostic::error(Reason::NamespaceNameInvalid, "metadata.namespace", reason, remedy);
        return Manifest::Refused(reference, vec![error], None);
    }
    let stand_in = StandIn::for_manifest(&reference, &value);
    let refused = |errors: Vec<Diagnostic>| {
        let stand_in = errors.first().map(|error| stand_in.because(error));
        Manifest::Refused(reference, errors, stand_in)
    };
    if !kind.versions().contains(&version) {
        let message = format!("Fairway does not read version `{version}` of {word}");
        let remedy = format!("use {}", join(group, kind.versions()[0]));
        let error = Diagnostic::error(Reason::VersionUnknown, "apiVersion", message, remedy);
        return refused(vec![error]);
    }
    let errors = schema::check(kind, &mut value);
    if !errors.is_empty() {
        return refused(errors);
    }
    match Object::parse(kind, value) {
        Ok(object) => Manifest::Object(object),
        Err(error) => refused(vec![error.into()]),
    }
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// A kind we do not read is none of our business, unless it looks like a slip of the pen.
fn unknown_kind(group: &str, word: &str, api_version: &str) -> Manifest {
    let slip = Kind::ALL.into_iter().find(|kind| {
        (kind.as_str() == word && kind.group().ends_with(group) && !group.is_empty())
            || (kind.group() == group && kind.as_str().eq_ignore_ascii_case(word))
            || (kind.group() == group && schema::is_slip(word, kind.as_str()))
            || (kind.as_str() == word && matches!(group, "" | fairway_gateway_api::GROUP))
    });
    match slip {
        Some(kind) => {
            let remedy =
                format!("did you mean apiVersion {}, kind {kind}?", join(kind.group(), kind.versions()[0]));
            let message = format!("there is no kind {word} in {api_version}");
            let error = Diagnostic::error(Reason::KindUnknown, "kind", message, remedy);
            Manifest::Unknown(word.to_owned(), vec![error])
        }
        None if (group, word) == ("", "Endpoints") => {
            let message =
                "Fairway does not read v1 Endpoints, and in a directory nothing makes EndpointSlices of them";
            let remedy =
                "write EndpointSlices (discovery.k8s.io/v1) with the label kubernetes.io/service-name";
            let error = Diagnostic::warning(Reason::EndpointsNotRead, "", message, remedy);
            Manifest::Unread(format!("{api_version} {word}"), error)
        }
        None => {
            let note = Diagnostic::note(Reason::KindIgnored, "", "Fairway does not read this kind", "");
            Manifest::Unread(format!("{api_version} {word}"), note)
        }
    }
}

fn invalid_name(kind: Kind, name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("the name is missing".to_owned());
    }
    match kind {
        Kind::Namespace | Kind::Service => invalid_label(name),
        _ if name.len() > 253 => Some(format!("`{name}` has more than 253 characters")),
        // One of a signer begins with its name, `example.com:signer:`.
        Kind::ClusterTrustBundle => name
            .split([':', '.'])
            .find_map(invalid_characters)
            .map(|_| format!("`{name}` is not a valid name")),
        _ => name.split('.').find_map(invalid_characters).map(|_| format!("`{name}` is not a valid name")),
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
    (!right).then(|| format!("`{label}` is not a valid name"))
}
