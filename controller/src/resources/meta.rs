//! What is kept of an object's metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is kept of an object's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Its namespace; empty for objects that have none.
    pub namespace: Arc<str>,
    /// The object's `metadata.name`; never empty.
    pub name: Arc<str>,
    /// Its uid; empty when nobody gave it one.
    pub uid: Arc<str>,
    /// What conditions say they have observed; 1 where nobody counts.
    pub generation: i64,
    /// When it was made, seconds since 1970; 0 where nobody says.
    pub created: i64,
    /// Its labels, where a selector can ask for them: of Namespaces, Services, EndpointSlices and Pods.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Its annotations in our own domain; the others mean nothing here and can be large.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// Of a route: whether its status says, in our own words, that connections to its Service have been moved to a waypoint.
    pub enforced: bool,
    /// Of an object that stands in for one that cannot be read: why that cannot be read. What a policy or a route names is closed, and
    /// what runs for a Gateway stays as it is.
    pub unreadable: Option<Arc<str>>,
}

/// The domain of our own labels and annotations.
const DOMAIN: &str = "fairway.dev/";

// === impl Meta ===

impl Meta {
    /// Takes what is needed.
    pub fn new(full: ObjectMeta, namespaced: bool) -> Self {
        let namespace = match namespaced {
            true => full.namespace.as_deref().filter(|it| !it.is_empty()).unwrap_or("default").into(),
            false => Arc::from(""),
        };
        Self {
            namespace,
            name: full.name.unwrap_or_default().into(),
            uid: full.uid.unwrap_or_default().into(),
            generation: full.generation.unwrap_or(1),
            created: full.creation_timestamp.map_or(0, |it| it.0.as_second()),
            labels: shared(full.labels, |_| true),
            annotations: shared(full.annotations, |key| key.starts_with(DOMAIN)),
            enforced: false,
            unreadable: None,
        }
    }

    /// Takes what is needed of an object whose labels nobody asks for: with thousands of routes they would weigh.
    pub fn without_labels(full: ObjectMeta, namespaced: bool) -> Self {
        Self::new(ObjectMeta { labels: None, ..full }, namespaced)
    }

    /// The value of a label; none where the object does not have it.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(|it| &**it)
    }

    /// An annotation's value; only those of our own domain are kept.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(|it| &**it)
    }
}

fn shared(
    map: Option<BTreeMap<String, String>>,
    keep: impl Fn(&str) -> bool,
) -> BTreeMap<Arc<str>, Arc<str>> {
    map.into_iter()
        .flatten()
        .filter(|(key, _)| keep(key))
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}
