//! Labels and annotations in Fairway's domain that have no effect.

use crate::diagnostic::{Diagnostic, Reason, Subject};
pub(super) use fairway_config::model::MESH_LABEL as MESH;
use fairway_config::model::MUTUAL_TLS_LABEL as MUTUAL_TLS;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const DOMAIN: &str = "fairway.dev/";

/// Those with a meaning, or written by Fairway itself.
const KNOWN: [&str; 8] =
    ["mesh", "mtls", "waypoint", "captured", "gateway", "service-account-uid", "implied", "netns"];

/// Checks those of an object; `is_reported` says of which keys compiling has reported already what is wrong.
pub(super) fn check(
    object: &Subject,
    metadata: &ObjectMeta,
    is_reported: impl Fn(&str) -> bool,
) -> Vec<Diagnostic> {
    let labels = metadata.labels.iter().flatten().map(|entry| ("label", "labels", entry));
    let annotations = metadata.annotations.iter().flatten().map(|entry| ("annotation", "annotations", entry));
    let mut found = Vec::new();
    for (what, map, (key, value)) in labels.chain(annotations) {
        let Some(name) = key.strip_prefix(DOMAIN) else { continue };
        let field = format!("metadata.{map}[{key}]");
        let fault = match key.as_str() {
            MESH if what == "label" && !["enabled", "disabled"].contains(&value.as_str()) => {
                let message = format!("`{value}` is not a known value, so the label has no effect");
                let remedy = "use `enabled` on a namespace, `disabled` on a pod, or remove the label";
                Diagnostic::error(Reason::MeshLabelUnknown, field, message, remedy)
            }
            MESH if what == "annotation" => {
                let message = "an annotation with this key has no effect";
                Diagnostic::warning(Reason::MeshLabelIsAnnotation, field, message, "make it a label")
            }
            MUTUAL_TLS if !["strict", "permissive"].contains(&value.as_str()) && !is_reported(MUTUAL_TLS) => {
                let message = format!("`{value}` is not a known value, so pods accept mutual TLS only");
                let remedy = "use `strict` or `permissive`";
                Diagnostic::error(Reason::MutualTlsLabelUnknown, field, message, remedy)
            }
            _ if !KNOWN.contains(&name) => {
                let message = format!("Fairway has no such {what}, so it has no effect");
                let remedy = "correct its name, or remove it (docs/getting-started.md lists them)";
                Diagnostic::warning(Reason::LabelUnknown, field, message, remedy)
            }
            _ => continue,
        };
        found.push(fault.about(object.clone()));
    }
    found
}
