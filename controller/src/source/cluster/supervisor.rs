//! Runs a feed for each kind that the cluster offers, and looks now and then whether that has changed.

use super::feed::Feed;
use super::holdings::{FeedState, News};
use super::offer::{self, Endpoint, Offers};
use crate::apiserver::describe;
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
    endpoint: Arc<Endpoint>,
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
    Watch(Arc<Endpoint>),
    /// It is gone.
    Withdraw(Kind),
}

/// Runs until nobody listens.
pub(super) async fn supervise(client: Client, news: mpsc::Sender<News>) {
    let mut watched = Watched::default();
    let mut unreachable = false;
    while !news.is_closed() {
        let all = match timeout(ANSWER, offer::fetch(&client)).await {
            Ok(Ok(offers)) => {
                unreachable = false;
                if watched.follow(&client, &offers, &news).await.is_err() {
                    return;
                }
                Kind::ALL.iter().all(|it| it.is_optional() || offers.contains_key(it))
            }
            failed => {
                if !std::mem::replace(&mut unreachable, true) {
                    match failed {
                        Ok(Err(error)) => {
                            warn!("the API server does not say what it offers: {}", describe(&error))
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
        offers: &Offers,
        news: &mpsc::Sender<News>,
    ) -> Result<(), mpsc::error::SendError<News>> {
        self.say(offers);
        if self.told.is_none() {
            for kind in Kind::ALL.into_iter().filter(|it| !offers.contains_key(it)) {
                news.send(News::State(kind, FeedState::NotOffered)).await?;
            }
        }
        let kinds: BTreeSet<Kind> = offers.keys().copied().collect();
        if self.told.as_ref() != Some(&kinds) {
            // Before the feeds begin: who hears of the first list must know how many to wait for.
            news.send(News::Offered(kinds.clone())).await?;
            self.told = Some(kinds);
        }
        for step in self.steps(offers, Instant::now()) {
            match step {
                Step::Watch(endpoint) => {
                    news.send(News::State(endpoint.kind, FeedState::Listing)).await?;
                    let feed =
                        Feed { client: client.clone(), endpoint: endpoint.clone(), news: news.clone() };
                    let task = Task(tokio::spawn(feed.run()));
                    self.kinds.insert(endpoint.kind, Running { endpoint, missing_since: None, task });
                }
                Step::Withdraw(kind) => {
                    if let Some(running) = self.kinds.remove(&kind) {
                        running.task.end().await;
                    }
                    news.send(News::Withdrawn(kind)).await?;
                    news.send(News::State(kind, FeedState::NotOffered)).await?;
                }
            }
        }
        Ok(())
    }

    /// Says once which kinds are missing and which have come.
    fn say(&self, offers: &Offers) {
        let names = |kinds: Vec<Kind>| kinds.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ");
        match &self.told {
            None => {
                let missing: Vec<Kind> =
                    Kind::ALL.into_iter().filter(|it| !offers.contains_key(it)).collect();
                if !missing.is_empty() {
                    info!(
                        "not in this cluster (yet): {}; they are read as soon as their CRDs are installed",
                        names(missing)
                    );
                }
            }
            Some(told) => {
                let came: Vec<Kind> = offers.keys().copied().filter(|it| !told.contains(it)).collect();
                if !came.is_empty() {
                    info!("now in this cluster: {}", names(came));
                }
            }
        }
    }

    /// What has to be done so that what is offered is what is watched.
    fn steps(&mut self, offers: &Offers, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for (kind, running) in &mut self.kinds {
            if offers.contains_key(kind) {
                running.missing_since = None;
            } else if now.duration_since(*running.missing_since.get_or_insert(now)) >= MISSING {
                steps.push(Step::Withdraw(*kind));
            }
        }
        let is_watched =
            |it: &Endpoint| self.kinds.get(&it.kind).is_some_and(|running| *running.endpoint == *it);
        steps.extend(offers.values().filter(|it| !is_watched(it)).cloned().map(Step::Watch));
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
