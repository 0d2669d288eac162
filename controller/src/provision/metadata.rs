//! Labels and annotations: what may stand in them, and which ours have.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Says that we made an object, and look after it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`], and the name of what manages fields (server-side apply) without its domain.
pub const MANAGER: &str = "fairway-controller";
/// The Gateway that an object is made for (GEP-1762); cut where the name is longer than a label's value.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
pub const GATEWAY_CLASS_NAME: &str = "gateway.networking.k8s.io/gateway-class-name";
/// The annotation with the Gateway's name in full.
pub const GATEWAY: &str = "fairway.dev/gateway";
/// The annotation of pods with the uid of the ServiceAccount whose tokens they have.
pub const SERVICE_ACCOUNT_UID: &str = "fairway.dev/service-account-uid";

/// A label or an annotation that the API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InvalidMetadata {
    pub key: String,
    pub message: &'static str,
    pub remedy: &'static str,
}

/// Checks labels by the API server's rules.
pub(super) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), InvalidMetadata> {
    for (key, value) in labels {
        check_key(key, key)?;
        if !is_label_value(value) {
            let remedy = "use at most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends";
            return Err(InvalidMetadata {
                key: key.clone(),
                message: "its value cannot be a label's",
                remedy,
            });
        }
    }
    Ok(())
}

/// Checks the keys of annotations by the API server's rules.
pub(super) fn check_annotations(annotations: &BTreeMap<String, String>) -> Result<(), InvalidMetadata> {
    // Unlike in labels, capitals may stand in the domain.
    annotations.keys().try_for_each(|key| check_key(key, &key.to_ascii_lowercase()))
}

fn check_key(written: &str, key: &str) -> Result<(), InvalidMetadata> {
    let (domain, name) = match key.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, key),
    };
    if !name.is_empty() && is_label_value(name) && domain.is_none_or(is_domain) {
        return Ok(());
    }
    let remedy = "write name or example.com/name";
    Err(InvalidMetadata { key: written.to_owned(), message: "it is not a key", remedy })
}

fn is_label_value(value: &str) -> bool {
    let ends = |it: Option<char>| it.is_none_or(|it| it.is_ascii_alphanumeric());
    value.len() <= 63
        && ends(value.chars().next())
        && ends(value.chars().last())
        && value.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
}

fn is_domain(prefix: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
    };
    prefix.len() <= 253 && prefix.split('.').all(is_part)
}

/// Owned text for a manifest.
pub(super) fn owned<'a>(
    pairs: impl IntoIterator<Item = &'a (Arc<str>, Arc<str>)>,
) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_those_the_api_server_takes() {
        let check =
            |key: &str, value: &str| check_labels(&BTreeMap::from([(key.into(), value.into())])).is_ok();
        for (key, value) in [("a", ""), ("a.b/c_d", "E-9"), ("a", &"v".repeat(63)), ("example.com/x", "1")] {
            assert!(check(key, value), "{key}: {value}");
        }
        for (key, value) in [
            ("", "x"),
            ("/a", "x"),
            ("A.b/c", "x"),
            ("a/", ""),
            ("a/b/c", ""),
            ("a", "-"),
            ("a", &"v".repeat(64)),
        ] {
            assert!(!check(key, value), "{key}: {value}");
        }
    }
}
