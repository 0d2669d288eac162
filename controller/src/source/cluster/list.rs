//! Lists a kind, page by page.

use crate::resources::ApiResource;
use kube::Client;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;
use serde_json::Value;

/// How many objects a page of a list has.
const SIZE: u32 = 500;

/// A page of a list.
pub(super) struct Page {
    pub(super) items: Vec<Value>,
    /// The version that the list is of.
    pub(super) version: String,
    /// Where the next page begins; none behind the last.
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
struct ListResponse {
    #[serde(default)]
    metadata: Meta,
    /// `null` of a server that has none.
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    resource_version: String,
    r#continue: String,
}

/// The page of what a field selector selects that begins there; the first one without.
pub(super) async fn page(
    client: &Client,
    api_resource: &ApiResource,
    selector: Option<&str>,
    after: Option<String>,
) -> kube::Result<Page> {
    let mut parameters = ListParams::default().limit(SIZE);
    parameters.field_selector = selector.map(str::to_owned);
    parameters.continue_token = after;
    let request =
        Request::new(api_resource.collection()).list(&parameters).map_err(kube::Error::BuildRequest)?;
    let ListResponse { metadata, items } = client.request(request).await?;
    let next = Some(metadata.r#continue).filter(|it| !it.is_empty());
    Ok(Page { items: items.unwrap_or_default(), version: metadata.resource_version, next })
}
