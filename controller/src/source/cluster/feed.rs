//! Lists and watches one kind, for as long as it takes.

use super::backoff::Backoff;
use super::decoded_object::{DecodedObject, decode};
use super::list::page;
use super::selection;
use super::watch_cache::{FeedEvent, FeedState};
use crate::apiserver;
use crate::resources::ApiResource;
use futures_util::stream::{self, StreamExt, select_all};
use kube::Client;
use kube::api::{WatchEvent, WatchParams};
use kube::core::Request;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::debug;

/// How long a watch runs before the server ends it, in seconds, so that load moves to new servers now and then.
const WATCH: u32 = 290;

/// How long a watch may be silent. Servers send a bookmark every minute; more silence is a connection that died without
/// anybody having said so.
const SILENCE: Duration = Duration::from_secs(100);

/// How long a request may take to be answered.
const ANSWER: Duration = Duration::from_secs(30);

/// A watch that ran this long counts as one that worked.
const STEADY: Duration = Duration::from_secs(5);

/// How often a server may refuse to go on where we were before everything is listed anew: one that was restored from a
/// backup never heard of that version.
const REFUSALS: u32 = 3;

/// Lists and watches one kind.
#[derive(Clone)]
pub(super) struct Feed {
    pub(super) client: Client,
    pub(super) api_resource: Arc<ApiResource>,
    pub(super) feed_events: mpsc::Sender<FeedEvent>,
}

/// How far a feed is.
#[derive(Debug, Default)]
struct Progress {
    /// For each selector the version up to which everything has been told; none when a list is needed.
    seen: Option<Vec<String>>,
    backoff: Backoff,
    /// How often the server has said no since something worked.
    refusals: u32,
}

/// Why listing or watching ended.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The server ended the watch, as it does every few minutes.
    #[error("the watch is over")]
    Over,
    /// The server has forgotten the changes since the last one seen.
    #[error("the server no longer has the changes since the last one that was seen")]
    Expired,
    /// The server refuses, or cannot be reached.
    #[error("{}", describe(.0))]
    Failed(kube::Error),
    #[error("the server does not answer")]
    Silent,
    /// Nobody wants to hear it any more.
    #[error("nobody listens")]
    Unheard,
}

// === impl Feed ===

impl Feed {
    /// Runs until nobody wants to hear it any more.
    pub(super) async fn run(self) {
        let mut progress = Progress::default();
        while self.turn(&mut progress).await.is_ok() {}
    }

    /// One list or one watch, and the pause after one that did not go well. Errs when nobody listens.
    async fn turn(&self, progress: &mut Progress) -> Result<(), End> {
        let began = Instant::now();
        let end = match &mut progress.seen {
            None => match self.list().await {
                Ok(versions) => {
                    progress.seen = Some(versions);
                    return Ok(());
                }
                Err(end) => end,
            },
            Some(versions) => self.watch(versions).await,
        };
        let lived = began.elapsed() >= STEADY;
        if lived {
            progress.backoff.worked();
            progress.refusals = 0;
        }
        match &end {
            End::Unheard => return Err(end),
            End::Over if lived => return Ok(()),
            End::Over => {}
            // A relist tells only what differs, so this is no burst.
            End::Expired => progress.seen = None,
            End::Silent | End::Failed(_) => {
                progress.refusals += u32::from(matches!(end, End::Failed(kube::Error::Api(_))));
                if progress.refusals >= REFUSALS {
                    (progress.seen, progress.refusals) = (None, 0);
                }
                debug!(kind = %self.api_resource.kind, "cannot be watched at the moment: {end}");
                self.tell_state(FeedState::Failing(end.to_string())).await?;
            }
        }
        tokio::time::sleep(progress.backoff.failed()).await;
        Ok(())
    }

    /// Lists everything, page by page; gives back the versions that the list is of.
    async fn list(&self) -> Result<Vec<String>, End> {
        self.tell(FeedEvent::ListBegins(self.api_resource.kind)).await?;
        let mut versions = Vec::new();
        for selector in selection::fields(self.api_resource.kind) {
            versions.push(self.list_selected(*selector).await?);
        }
        self.tell(FeedEvent::ListEnds(self.api_resource.kind)).await?;
        Ok(versions)
    }

    async fn list_selected(&self, selector: Option<&str>) -> Result<String, End> {
        let mut after = None;
        loop {
            let answer = timeout(ANSWER, page(&self.client, &self.api_resource, selector, after)).await;
            let page = answer.map_err(|_| End::Silent)?.map_err(failed)?;
            self.tell(FeedEvent::Seen(page.items.into_iter().filter_map(|it| self.decode(it)).collect()))
                .await?;
            after = page.next;
            if after.is_none() {
                return Ok(page.version);
            }
        }
    }

    /// Watches from these versions on, and moves them along.
    async fn watch(&self, versions: &mut [String]) -> End {
        match self.follow(versions).await {
            Ok(()) => End::Over,
            Err(end) => end,
        }
    }

    async fn follow(&self, versions: &mut [String]) -> Result<(), End> {
        let mut watches = Vec::new();
        let selectors = selection::fields(self.api_resource.kind);
        for (index, (selector, version)) in selectors.iter().zip(&*versions).enumerate() {
            let parameters = WatchParams {
                field_selector: selector.map(str::to_owned),
                timeout: Some(WATCH),
                bookmarks: true,
                ..WatchParams::default()
            };
            let request =
                Request::new(self.api_resource.collection()).watch(&parameters, version).map_err(unbuilt)?;
            let answer = timeout(ANSWER, self.client.request_events::<Value>(request)).await;
            let events = answer.map_err(|_| End::Silent)?.map_err(failed)?;
            // The end of one is the end of all: a connection that died without anybody having said so ends with the others.
            let events = events.map(Some).chain(stream::iter([None]));
            watches.push(events.map(move |it| (index, it.transpose())).boxed());
        }
        let mut events = select_all(watches);
        self.tell_state(FeedState::Watching(self.api_resource.version.clone())).await?;
        // Silence ends it quietly: from the same version on nothing is lost.
        while let Ok(Some((index, event))) = timeout(SILENCE, events.next()).await {
            let Some(event) = event.map_err(failed)? else { break };
            let Some(version) = versions.get_mut(index) else { break };
            let (manifest, gone) = match event {
                WatchEvent::Added(it) | WatchEvent::Modified(it) => (it, false),
                WatchEvent::Deleted(it) => (it, true),
                WatchEvent::Bookmark(it) => {
                    *version = it.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => return Err(failed(kube::Error::Api(status))),
            };
            let next = manifest["metadata"]["resourceVersion"].as_str().map(str::to_owned);
            if let Some(it) = self.decode(manifest) {
                let feed_event = if gone { FeedEvent::Gone(it.object) } else { FeedEvent::Seen(vec![it]) };
                self.tell(feed_event).await?;
            }
            if let Some(next) = next {
                *version = next;
            }
        }
        Ok(())
    }

    fn decode(&self, manifest: Value) -> Option<DecodedObject> {
        decode(&self.api_resource, manifest)
    }

    async fn tell(&self, feed_event: FeedEvent) -> Result<(), End> {
        self.feed_events.send(feed_event).await.map_err(|_| End::Unheard)
    }

    async fn tell_state(&self, state: FeedState) -> Result<(), End> {
        self.tell(FeedEvent::State(self.api_resource.kind, state)).await
    }
}

fn unbuilt(error: kube::core::request::Error) -> End {
    End::Failed(kube::Error::BuildRequest(error))
}

fn failed(error: kube::Error) -> End {
    match error {
        kube::Error::Api(status) if status.code == 410 => End::Expired,
        error => End::Failed(error),
    }
}

fn describe(error: &kube::Error) -> String {
    let said = apiserver::describe(error);
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("{said}; give the controller's ClusterRole list and watch of it")
        }
        _ => said,
    }
}
