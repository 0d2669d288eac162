//! What an API server serves of the kinds that are read, and in which version.
//!
//! Discovery needs no rights beyond those every service account has (`system:discovery`), where a watch of CRDs would.

use crate::resources::{ApiResource, Kind, group_path};
use futures_util::future::try_join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, APIResourceList};
use kube::Client;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All kinds that are offered.
pub(super) type DiscoveredKinds = BTreeMap<Kind, Arc<ApiResource>>;

/// What each group and version has; those that are not served are missing.
type Served = BTreeMap<(&'static str, &'static str), Vec<APIResource>>;

/// Asks for what is offered.
pub(super) async fn fetch(client: &Client) -> kube::Result<DiscoveredKinds> {
    let mut wanted: Vec<_> = Kind::ALL
        .iter()
        .flat_map(|kind| kind.versions().iter().map(|version| (kind.group(), *version)))
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let served = try_join_all(wanted.into_iter().map(async |(group, version)| {
        let resources = resources(client, &group_path(group, version)).await?;
        Ok::<_, kube::Error>(resources.map(|it| ((group, version), it)))
    }));
    let served: Served = served.await?.into_iter().flatten().collect();
    Ok(Kind::ALL.into_iter().filter_map(|kind| Some((kind, Arc::new(choose(kind, &served)?)))).collect())
}

async fn resources(client: &Client, path: &str) -> kube::Result<Option<Vec<APIResource>>> {
    let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    match client.request::<APIResourceList>(request).await {
        Ok(list) => Ok(Some(list.resources)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first of the versions we parse that the server has.
fn choose(kind: Kind, served: &Served) -> Option<ApiResource> {
    kind.versions().iter().find_map(|version| {
        let resources = served.get(&(kind.group(), *version))?;
        // `httproutes/status` is listed too, with the kind of its parent.
        let it = resources.iter().find(|it| it.kind == kind.as_str() && !it.name.contains('/'))?;
        Some(ApiResource { kind, version: (*version).into(), plural: it.name.as_str().into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str, kind: &str) -> APIResource {
        APIResource { name: name.to_owned(), kind: kind.to_owned(), ..APIResource::default() }
    }

    #[test]
    fn the_best_version_that_is_served_is_read() {
        let group = Kind::HttpRoute.group();
        let routes = || vec![resource("httproutes/status", "HTTPRoute"), resource("httproutes", "HTTPRoute")];
        let both = Served::from([((group, "v1"), routes()), ((group, "v1beta1"), routes())]);
        let old = Served::from([((group, "v1"), vec![]), ((group, "v1beta1"), routes())]);
        for (served, expected) in [(both, Some("v1")), (old, Some("v1beta1")), (Served::new(), None)] {
            let chosen = choose(Kind::HttpRoute, &served);
            assert_eq!(chosen.as_ref().map(|it| &*it.version), expected);
            assert!(chosen.is_none_or(|it| &*it.plural == "httproutes"));
        }
    }
}
