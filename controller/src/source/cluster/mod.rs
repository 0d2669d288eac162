//! A cluster's objects, listed and watched.
//!
//! A feed for each kind lists and watches it (`feed`) and tells what it sees; `WatchCache` turns that into edits, so
//! that what did not change costs nothing; here edits are gathered for a moment, so that a thousand objects that are
//! applied at once are compiled in few steps.

mod backoff;
mod decoded_object;
mod discovery;
mod feed;
mod inventory;
mod list;
mod selection;
mod supervisor;
#[cfg(test)]
pub(crate) mod tests;
mod watch_cache;

pub(crate) use inventory::{Inventory, Understood};
pub use watch_cache::{Changes, FeedState};

use super::Source;
use crate::diagnostic::Diagnostic;
use crate::resources::{Edit, Kind};
use kube::Client;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};
use watch_cache::{FeedEvent, WatchCache};

/// How long nothing must come before what came is handed on, and how long that may be put off.
const GATHER: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(40));

/// Events of feeds that may wait: a page of a list each at most.
const QUEUE: usize = 64;

/// How it goes with each kind.
pub type Feeds = BTreeMap<Kind, FeedState>;

/// A cluster's objects, listed and watched.
#[derive(Debug)]
pub struct Cluster {
    feed_events: mpsc::Receiver<FeedEvent>,
    cache: WatchCache,
    gathered: Changes,
    begun: bool,
    feeds: watch::Sender<Feeds>,
    supervisor: AbortHandle,
}

// === impl Cluster ===

impl Cluster {
    /// Begins to watch. Must be called within a tokio runtime.
    pub fn watch(client: Client) -> Self {
        let (sender, feed_events) = mpsc::channel(QUEUE);
        let supervisor = tokio::spawn(supervisor::supervise(client, sender)).abort_handle();
        Self {
            feed_events,
            cache: WatchCache::default(),
            gathered: Changes::default(),
            begun: false,
            feeds: watch::Sender::default(),
            supervisor,
        }
    }

    /// How it goes with each kind, now and later.
    pub fn feeds(&self) -> watch::Receiver<Feeds> {
        self.feeds.subscribe()
    }

    /// Objects that cannot be understood; their last good version stays in force.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.cache.problems()
    }

    /// Waits for the next changes. The first are everything there is. None when there will be no more.
    pub async fn next_changes(&mut self) -> Option<Changes> {
        self.next_changes_until(None).await
    }

    /// Waits for the next changes, and after the first no longer than until a deadline: then there may be none.
    pub async fn next_changes_until(&mut self, deadline: Option<Instant>) -> Option<Changes> {
        loop {
            let feed_event = match deadline.filter(|_| self.begun) {
                Some(deadline) => match timeout_at(deadline, self.feed_events.recv()).await {
                    Ok(feed_event) => feed_event?,
                    Err(_) => return Some(Changes::default()),
                },
                None => self.feed_events.recv().await?,
            };
            self.take(feed_event);
            self.gather().await;
            if self.begun && self.gathered.is_empty() {
                continue;
            }
            if self.begun || self.cache.is_whole() {
                self.begun = true;
                return Some(std::mem::take(&mut self.gathered));
            }
        }
    }

    /// Takes what comes until nothing does for a moment.
    async fn gather(&mut self) {
        let end = Instant::now() + GATHER.1;
        loop {
            let quiet = (Instant::now() + GATHER.0).min(end);
            match timeout_at(quiet, self.feed_events.recv()).await {
                Ok(Some(feed_event)) => self.take(feed_event),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn take(&mut self, feed_event: FeedEvent) {
        if let FeedEvent::State(kind, state) = &feed_event {
            self.note(*kind, state);
        }
        self.cache.take(feed_event, &mut self.gathered);
    }

    /// Says what does not work once, not for each kind and each try.
    fn note(&self, kind: Kind, state: &FeedState) {
        let fails = |feeds: &Feeds| feeds.values().any(|it| matches!(it, FeedState::Failing(_)));
        let before = self.feeds.borrow().clone();
        if before.get(&kind) == Some(state) {
            return;
        }
        if let FeedState::Failing(why) = state
            && !before.values().any(|it| it == state)
        {
            warn!(%kind, "the cluster cannot be watched, what was seen last stays in force: {why}");
        }
        self.feeds.send_modify(|feeds| drop(feeds.insert(kind, state.clone())));
        if fails(&before) && !fails(&self.feeds.borrow()) {
            info!("the cluster is watched again");
        }
    }
}

impl Source for Cluster {
    async fn next(&mut self) -> Option<Vec<Edit>> {
        Some(self.next_changes().await?.edits)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}
