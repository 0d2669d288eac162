//! Labels and annotations of ours with words that mean nothing, or that are none of ours.

use super::super::report::{Grade, Verdict};
pub(super) use fairway_config::model::MESH_LABEL as MESH;
use fairway_config::model::MUTUAL_TLS_LABEL as MUTUAL_TLS;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const DOMAIN: &str = "fairway.dev/";

/// Those with a meaning, or written by Fairway itself.
const KNOWN: [&str; 8] =
    ["mesh", "mtls", "waypoint", "captured", "gateway", "service-account-uid", "implied", "netns"];

/// Judges those of an object; `judged` says of which keys compiling has said already what is wrong.
pub(super) fn judge(object: &str, metadata: &ObjectMeta, judged: impl Fn(&str) -> bool) -> Vec<Verdict> {
    let labels = metadata.labels.iter().flatten().map(|it| ("label", it));
    let annotations = metadata.annotations.iter().flatten().map(|it| ("annotation", it));
    let mut found = Vec::new();
    for (what, (key, word)) in labels.chain(annotations) {
        let Some(name) = key.strip_prefix(DOMAIN) else { continue };
        let verdict = match key.as_str() {
            MESH if what == "label" && !["enabled", "disabled"].contains(&word.as_str()) => Verdict::new(
                Grade::Error,
                format!("the label {MESH}: {word} means nothing, and changes nothing"),
                "use `enabled` on a namespace, `disabled` on a pod, or take it off",
            ),
            MESH if what == "annotation" => Verdict::new(
                Grade::Warning,
                format!("the annotation {MESH} means nothing, and changes nothing"),
                "make it a label",
            ),
            MUTUAL_TLS if !["strict", "permissive"].contains(&word.as_str()) && !judged(MUTUAL_TLS) => {
                Verdict::new(
                    Grade::Error,
                    format!("the {what} {MUTUAL_TLS}: {word} is not understood, so only mTLS is let in"),
                    "use `strict` or `permissive`",
                )
            }
            _ if !KNOWN.contains(&name) => Verdict::new(
                Grade::Warning,
                format!("{key} is not a {what} of Fairway, and changes nothing"),
                "correct its name, or take it off (docs/getting-started.md lists them)",
            ),
            _ => continue,
        };
        found.push(verdict.of(object));
    }
    found
}
