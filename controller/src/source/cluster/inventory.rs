//! Everything a cluster has, read once: what `fairway check` looks at.

use super::decoded_object::decode;
use super::discovery;
use super::list::page;
use super::selection;
use crate::apiserver::describe;
use crate::diagnostic::Diagnostic;
use crate::resources::ApiResource;
use crate::resources::{ClusterTrustBundle, Edit, Kind, ObjectRef};
use crate::status::Record;
use futures_util::future::join_all;
use kube::Client;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Where a kind is, and its objects, or why they could not be read.
type Listing = (Arc<ApiResource>, Result<Vec<Value>, String>);

/// Everything a cluster has of the kinds that are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inventory {
    /// Each kind that is offered.
    pub(crate) listings: BTreeMap<Kind, Listing>,
}

/// What of it can be understood.
#[derive(Debug, Default)]
pub(crate) struct Understood {
    /// The objects, for compiling.
    pub(crate) edits: Vec<Edit>,
    /// Those that are malformed.
    pub(crate) problems: Vec<Diagnostic>,
    /// What they say of their status.
    pub(crate) records: HashMap<ObjectRef, Arc<Record>, ahash::RandomState>,
}

// === impl Inventory ===

impl Inventory {
    /// Reads it. A kind that may not be read is left out, and said to be.
    pub(crate) async fn take(client: &Client) -> kube::Result<Self> {
        let discovered = discovery::fetch(client).await?;
        let listings = discovered.into_iter().map(async |(kind, api_resource)| {
            let listed = list(client, &api_resource).await.map_err(|error| describe(&error));
            (kind, (api_resource, listed))
        });
        Ok(Self { listings: join_all(listings).await.into_iter().collect() })
    }

    /// Whether the cluster has the kind.
    pub(crate) fn has_kind(&self, kind: Kind) -> bool {
        self.listings.contains_key(&kind)
    }

    /// The objects of a kind, as the type that somebody wants to see them as.
    pub(crate) fn all<T: DeserializeOwned>(&self, kind: Kind) -> Vec<T> {
        let objects = self.listings.get(&kind).and_then(|(_, listed)| listed.as_ref().ok());
        objects.into_iter().flatten().filter_map(|it| serde_json::from_value(it.clone()).ok()).collect()
    }

    /// Whether there is an object of the kind with this name.
    pub(crate) fn has(&self, kind: Kind, name: &str) -> bool {
        let objects = self.listings.get(&kind).and_then(|(_, listed)| listed.as_ref().ok());
        objects.into_iter().flatten().any(|it| it["metadata"]["name"] == name)
    }

    /// The kinds that could not be read, and why.
    pub(crate) fn unread(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.listings.iter().filter_map(|(kind, (_, listed))| Some((*kind, listed.as_ref().err()?.as_str())))
    }

    /// The objects as compiling takes them.
    pub(crate) fn understand(&self) -> Understood {
        let mut out = Understood::default();
        let has_bundles = self.has_kind(Kind::ClusterTrustBundle);
        out.edits.extend(has_bundles.then(|| Edit::Upsert(ClusterTrustBundle::of_kind())));
        for (api_resource, listed) in self.listings.values() {
            for manifest in listed.iter().flatten() {
                let Some(it) = decode(api_resource, manifest.clone()) else { continue };
                match it.content {
                    Ok(object) => out.edits.push(Edit::Upsert(object)),
                    Err(it) => {
                        out.edits.push(Edit::Upsert(it.stand_in));
                        out.problems.push(it.problem);
                    }
                }
                out.records.extend(it.record.map(|record| (it.object, record)));
            }
        }
        out
    }
}

async fn list(client: &Client, api_resource: &ApiResource) -> kube::Result<Vec<Value>> {
    let mut all = Vec::new();
    for selector in selection::fields(api_resource.kind) {
        let mut after = None;
        loop {
            let page = page(client, api_resource, *selector, after).await?;
            all.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
impl Inventory {
    /// A cluster with these objects, of kinds that are read.
    pub(crate) fn with_objects(kinds: impl IntoIterator<Item = Kind>, manifests: Vec<Value>) -> Self {
        let mut listings: BTreeMap<_, _> = kinds
            .into_iter()
            .map(|kind| {
                let version = kind.versions()[0].into();
                let plural = format!("{}s", kind.as_str().to_lowercase()).into();
                (kind, (Arc::new(ApiResource { kind, version, plural }), Ok(Vec::new())))
            })
            .collect();
        for it in manifests {
            let group = it["apiVersion"].as_str().unwrap().rsplit_once('/').map_or("", |(group, _)| group);
            let kind = Kind::named(group, it["kind"].as_str().unwrap()).unwrap();
            listings.get_mut(&kind).unwrap().1.as_mut().unwrap().push(it);
        }
        Self { listings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::cluster::tests::Server;
    use serde_json::json;

    #[tokio::test]
    async fn a_kind_that_may_not_be_read_is_named_and_the_others_are_read() {
        let server = Server::new();
        server.put(Kind::Namespace, json!({ "metadata": { "name": "shop" } }));
        server.forbid(Kind::Secret);
        server.offer(Kind::Mesh, false);
        let inventory = Inventory::take(&server.client()).await.unwrap();
        assert!(inventory.has(Kind::Namespace, "shop") && !inventory.has(Kind::Namespace, "web"));
        assert!(inventory.has_kind(Kind::Secret) && !inventory.has_kind(Kind::Mesh));
        let unread: Vec<_> = inventory.unread().collect();
        assert!(matches!(unread[..], [(Kind::Secret, why)] if why.starts_with("403 ")), "{unread:?}");
        assert_eq!(inventory.understand().edits.len(), 1);
    }
}
