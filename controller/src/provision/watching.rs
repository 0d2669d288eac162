//! Watches the objects we made, one kind at a time.

use super::live::Live;
use super::manifest::{ManifestKey, ManifestKind};
use super::metadata::{MANAGED_BY, MANAGER};
use futures_util::TryStreamExt;
use kube::Client;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::{DynamicObject, Request, Resource};
use serde_json::Value;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::warn;

#[derive(Debug)]
pub(super) enum LiveEvent {
    /// All there are of a kind.
    All(ManifestKind, Vec<(ManifestKey, Live)>),
    /// One, new or changed.
    One(ManifestKey, Live),
    /// One that is gone.
    Gone(ManifestKey),
}

/// How long a watch runs before the server ends it, in seconds.
const WATCH: u32 = 290;
/// A server that says nothing for so long, not even a bookmark, is not there any more.
const SILENCE: Duration = Duration::from_secs(100);
const ANSWER: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_secs(2);

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the server does not answer")]
    Silent,
    #[error(transparent)]
    Failed(#[from] kube::Error),
    #[error(transparent)]
    Unbuilt(#[from] kube::core::request::Error),
    #[error("nobody listens")]
    Unheard,
}

#[derive(serde::Deserialize)]
struct List {
    metadata: ListMeta,
    items: Vec<Value>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
}

/// Tells what is there of a kind and what becomes of it, until nobody listens.
pub(super) async fn watch(client: Client, kind: ManifestKind, live_events: mpsc::Sender<LiveEvent>) {
    loop {
        match turn(&client, kind, &live_events).await {
            Ok(()) => {}
            Err(End::Unheard) => return,
            // The API that has the kind is not installed.
            Err(End::Failed(kube::Error::Api(status))) if status.code == 404 => {
                if tell(&live_events, LiveEvent::All(kind, Vec::new())).await.is_err() {
                    return;
                }
                tokio::time::sleep(AGAIN).await;
            }
            Err(end) => {
                warn!(%kind, "cannot be watched at the moment: {end}");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// A list, and watches from there on till the server has forgotten where.
async fn turn(client: &Client, kind: ManifestKind, live_events: &mpsc::Sender<LiveEvent>) -> Result<(), End> {
    let selector = format!("{MANAGED_BY}={MANAGER}");
    let url = DynamicObject::url_path(&kind.api_resource(), None);
    let parameters = ListParams::default().labels(&selector);
    let list = client.request::<List>(Request::new(&url).list(&parameters)?);
    let list = timeout(ANSWER, list).await.map_err(|_| End::Silent)??;
    let there = list.items.into_iter().filter_map(|it| Live::read(kind, it)).collect();
    tell(live_events, LiveEvent::All(kind, there)).await?;
    let mut version = list.metadata.resource_version;
    loop {
        let parameters = WatchParams { timeout: Some(WATCH), ..WatchParams::default().labels(&selector) };
        let request = Request::new(&url).watch(&parameters, &version)?;
        let began = Instant::now();
        let events = client.request_events::<Value>(request);
        let mut events = pin!(timeout(ANSWER, events).await.map_err(|_| End::Silent)??);
        while let Ok(event) = timeout(SILENCE, events.try_next()).await {
            let (object, gone) = match event? {
                None => break,
                Some(WatchEvent::Added(it) | WatchEvent::Modified(it)) => (it, false),
                Some(WatchEvent::Deleted(it)) => (it, true),
                Some(WatchEvent::Bookmark(it)) => {
                    version = it.metadata.resource_version;
                    continue;
                }
                Some(WatchEvent::Error(status)) if status.code == 410 => return Ok(()),
                Some(WatchEvent::Error(status)) => return Err(kube::Error::Api(status).into()),
            };
            if let Some((key, live)) = Live::read(kind, object) {
                version = live.version.to_string();
                tell(live_events, if gone { LiveEvent::Gone(key) } else { LiveEvent::One(key, live) })
                    .await?;
            }
        }
        if began.elapsed() < AGAIN {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

async fn tell(live_events: &mpsc::Sender<LiveEvent>, live_event: LiveEvent) -> Result<(), End> {
    live_events.send(live_event).await.map_err(|_| End::Unheard)
}
