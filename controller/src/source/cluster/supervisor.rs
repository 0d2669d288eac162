//! Runs a feed for each kind that the cluster serves, and looks now and then whether that has changed.

use super::discovery::{self, DiscoveredKinds};
use super::feed::Feed;
use super::watch_cache::{FeedEvent, FeedState};
use crate::apiserver::describe;
use crate::resources::ApiResource;
use crate::resources::Kind;
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

/// How often to look while kinds are missing, and when none is.
const LOOK: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// How long a kind must be missing before its objects are taken for gone: a server that starts does not know all its
/// CRDs at once.
const MISSING: Duration = Duration::from_secs(10);

/// How long discovery may take.
const ANSWER: Duration = Duration::from_secs(10);

/// The kinds that are watched.
#[derive(Debug, Default)]
struct Watched {
    kinds: BTreeMap<Kind, Running>,
    told: Option<BTreeSet<Kind>>,
}

#[derive(Debug)]
struct Running {
    api_resource: Arc<ApiResource>,
    missing_since: Option<Instant>,
    task: Task,
}

/// A task that ends with its handle.
#[derive(Debug)]
struct Task(JoinHandle<()>);

/// What has to be done about a kind.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Watch it, or watch it in another version.
    Watch(Arc<ApiResource>),
    Withdraw(Kind),
}

/// Runs until nobody listens.
pub(super) async fn supervise(client: Client, feed_events: mpsc::Sender<FeedEvent>) {
    let mut watched = Watched::default();
    let mut unreachable = false;
    while !feed_events.is_closed() {
        let all = match timeout(ANSWER, discovery::fetch(&client)).await {
            Ok(Ok(discovered)) => {
                unreachable = false;
                if watched.follow(&client, &discovered, &feed_events).await.is_err() {
                    return;
                }
                Kind::ALL.iter().all(|it| it.is_optional() || discovered.contains_key(it))
            }
            failed => {
                if !std::mem::replace(&mut unreachable, true) {
                    match failed {
                        Ok(Err(error)) => {
                            warn!("the API server does not say what it discovered: {}", describe(&error))
                        }
                        _ => warn!("the API server does not answer"),
                    }
                }
                false
            }
        };
        tokio::time::sleep(if all { LOOK.1 } else { LOOK.0 }).await;
    }
}

// === impl Watched ===

impl Watched {
    async fn follow(
        &mut self,
        client: &Client,
        discovered: &DiscoveredKinds,
        feed_events: &mpsc::Sender<FeedEvent>,
    ) -> Result<(), mpsc::error::SendError<FeedEvent>> {
        self.say(discovered);
        if self.told.is_none() {
            for kind in Kind::ALL.into_iter().filter(|it| !discovered.contains_key(it)) {
                feed_events.send(FeedEvent::State(kind, FeedState::NotServed)).await?;
            }
        }
        let kinds: BTreeSet<Kind> = discovered.keys().copied().collect();
        if self.told.as_ref() != Some(&kinds) {
            // Before the feeds begin: who hears of the first list must know how many to wait for.
            feed_events.send(FeedEvent::Discovered(kinds.clone())).await?;
            self.told = Some(kinds);
        }
        for step in self.steps(discovered, Instant::now()) {
            match step {
                Step::Watch(api_resource) => {
                    feed_events.send(FeedEvent::State(api_resource.kind, FeedState::Listing)).await?;
                    let feed = Feed {
                        client: client.clone(),
                        api_resource: api_resource.clone(),
                        feed_events: feed_events.clone(),
                    };
                    let task = Task(tokio::spawn(feed.run()));
                    self.kinds.insert(api_resource.kind, Running { api_resource, missing_since: None, task });
                }
                Step::Withdraw(kind) => {
                    if let Some(running) = self.kinds.remove(&kind) {
                        running.task.end().await;
                    }
                    // What such objects forbade is allowed from here on, as if somebody had deleted each of them.
                    warn!(
                        kind = kind.as_str(),
                        "the API server does not serve this kind any more; its objects count as deleted"
                    );
                    feed_events.send(FeedEvent::Withdrawn(kind)).await?;
                    feed_events.send(FeedEvent::State(kind, FeedState::NotServed)).await?;
                }
            }
        }
        Ok(())
    }

    /// Says once which kinds are missing and which have come.
    fn say(&self, discovered: &DiscoveredKinds) {
        let names = |kinds: Vec<Kind>| kinds.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ");
        match &self.told {
            None => {
                let missing: Vec<Kind> =
                    Kind::ALL.into_iter().filter(|it| !discovered.contains_key(it)).collect();
                if !missing.is_empty() {
                    info!(
                        "not in this cluster (yet): {}; they are read as soon as their CRDs are installed",
                        names(missing)
                    );
                }
            }
            Some(told) => {
                let came: Vec<Kind> = discovered.keys().copied().filter(|it| !told.contains(it)).collect();
                if !came.is_empty() {
                    info!("now in this cluster: {}", names(came));
                }
            }
        }
    }

    /// What has to be done so that what is offered is what is watched.
    fn steps(&mut self, discovered: &DiscoveredKinds, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for (kind, running) in &mut self.kinds {
            if discovered.contains_key(kind) {
                running.missing_since = None;
            } else if now.duration_since(*running.missing_since.get_or_insert(now)) >= MISSING {
                steps.push(Step::Withdraw(*kind));
            }
        }
        let is_watched =
            |it: &ApiResource| self.kinds.get(&it.kind).is_some_and(|running| *running.api_resource == *it);
        steps.extend(discovered.values().filter(|it| !is_watched(it)).cloned().map(Step::Watch));
        steps
    }
}

// === impl Task ===

impl Task {
    /// Ends it; when this returns it says nothing more.
    async fn end(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
