//! CustomResourceDefinitions, cut down to the version of the Gateway API that they are of.

use super::Meta;
use super::object::InvalidObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// A CustomResourceDefinition; of its metadata only the version of the bundle is kept, and nothing of its schemas.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its name and its generation.
    pub meta: Meta,
    /// The version of the Gateway API's bundle that it came with, such as `v1.7.0`; none where it does not say.
    pub bundle: Option<Arc<str>>,
}

/// Says of a CRD of the Gateway API which version it is of.
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

// === impl Definition ===

impl Definition {
    /// The one that is read: it stands for all of the Gateway API.
    pub const OF_GATEWAY_CLASSES: &str = "gatewayclasses.gateway.networking.k8s.io";
    /// The oldest bundle whose kinds are all understood.
    pub const OLDEST_BUNDLE: (u32, u32) = (1, 4);

    /// Takes what is needed.
    pub(super) fn new(manifest: &Value) -> Result<Self, InvalidObject> {
        let metadata = manifest.get("metadata").cloned().unwrap_or_default();
        let mut metadata = ObjectMeta::deserialize(metadata)
            .map_err(|error| InvalidObject { field: "metadata".to_owned(), reason: error.to_string() })?;
        let bundle = metadata.annotations.take().and_then(|mut it| it.remove(BUNDLE_VERSION));
        Ok(Self { meta: Meta::without_labels(metadata, false), bundle: bundle.map(Into::into) })
    }

    /// Whether it is of a version that Fairway is built for, or of an older one that it still understands. A newer minor version may
    /// have fields that are not known here.
    pub fn is_supported(&self) -> bool {
        let newest = minor_version(fairway_gateway_api::BUNDLE_VERSION);
        let installed = self.bundle.as_deref().and_then(minor_version);
        installed.is_some_and(|it| it >= Self::OLDEST_BUNDLE && Some(it) <= newest)
    }
}

/// The first two numbers of `v1.7.0`.
fn minor_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_between_the_oldest_and_our_own_are_supported() {
        for (bundle, expected) in [
            (Some(fairway_gateway_api::BUNDLE_VERSION), true),
            (Some("v1.4.0"), true),
            (Some("v1.5.0-rc.1"), true),
            (Some("v1.3.9"), false),
            (Some("v0.8.1"), false),
            (Some("v1.99.0"), false),
            (Some("v2.0.0"), false),
            (Some("1.7.0"), false),
            (Some("latest"), false),
            (Some(""), false),
            (None, false),
        ] {
            let annotations = bundle.map(|it| json!({ BUNDLE_VERSION: it })).unwrap_or_default();
            let manifest =
                json!({ "metadata": { "name": Definition::OF_GATEWAY_CLASSES, "annotations": annotations } });
            let definition = Definition::new(&manifest).unwrap();
            assert_eq!(definition.is_supported(), expected, "{bundle:?}");
        }
    }
}
