//! Where an API server has the objects of a kind.

use super::{Kind, ObjectRef};
use std::sync::Arc;

/// Where the objects of a kind are, in the version that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiResource {
    /// The kind of object.
    pub kind: Kind,
    /// The version that is watched, such as `v1`.
    pub version: Arc<str>,
    /// The name in paths: `httproutes`.
    pub plural: Arc<str>,
}

// === impl ApiResource ===

impl ApiResource {
    /// The path of all its objects.
    pub fn collection(&self) -> String {
        format!("{}/{}", group_path(self.kind.group(), &self.version), self.plural)
    }

    /// The path of one object.
    pub fn object(&self, it: &ObjectRef) -> String {
        let base = group_path(self.kind.group(), &self.version);
        match self.kind.is_namespaced() {
            true => format!("{base}/namespaces/{}/{}/{}", it.namespace, self.plural, it.name),
            false => format!("{base}/{}/{}", self.plural, it.name),
        }
    }

    /// Group and version as manifests have them.
    pub fn api_version(&self) -> String {
        match self.kind.group() {
            "" => self.version.to_string(),
            group => format!("{group}/{}", self.version),
        }
    }
}

/// Where the API server serves it: `/api/v1` for the core group, `/apis/<group>/<version>` for others.
pub(crate) fn group_path(group: &str, version: &str) -> String {
    match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let of = |kind, plural: &str| ApiResource { kind, version: "v1".into(), plural: plural.into() };
        let pod = ObjectRef::new(Kind::Pod, "shop", "reviews-1");
        assert_eq!(of(Kind::Pod, "pods").object(&pod), "/api/v1/namespaces/shop/pods/reviews-1");
        let class = ObjectRef::new(Kind::GatewayClass, "", "fairway");
        assert_eq!(
            of(Kind::GatewayClass, "gatewayclasses").object(&class),
            "/apis/gateway.networking.k8s.io/v1/gatewayclasses/fairway"
        );
        assert_eq!(of(Kind::Pod, "pods").collection(), "/api/v1/pods");
    }
}
