//! A proxy that takes configuration over, remembers what it was given, and refuses what it is told to.

use super::Network;
use crate::serve::Hub;
use fairway_config::model::{Generation, ResourceKey};
use fairway_config::stream::client::{self, Progress, StateFile};
use fairway_config::stream::{Proxy, Subscription};
use fairway_config::{Apply, Changes, Rejected, Snapshot};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Which resources are refused.
#[derive(Clone, Default)]
pub(super) struct Refusals(Arc<Mutex<HashSet<(ResourceKey, When)>>>);

/// When a resource is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum When {
    /// In every version, closed or not.
    Always,
    /// A backend or a listener that has this port and is not closed.
    Port(u16),
    /// A listener that is not closed.
    Open,
}

impl Refusals {
    /// Refuses this resource whatever it says.
    pub(super) fn always(&self, key: ResourceKey) {
        self.0.lock().unwrap().insert((key, When::Always));
    }

    /// Refuses this backend while it has this port.
    pub(super) fn backend_with_port(&self, key: ResourceKey, port: u16) {
        self.0.lock().unwrap().insert((key, When::Port(port)));
    }

    /// Refuses this listener while it has this port and is not closed.
    pub(super) fn listener_with_port(&self, key: ResourceKey, port: u16) {
        self.0.lock().unwrap().insert((key, When::Port(port)));
    }

    /// Refuses this listener while it is not closed.
    pub(super) fn open_listener(&self, key: ResourceKey) {
        self.0.lock().unwrap().insert((key, When::Open));
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    fn rejected(&self, next: &Snapshot, changes: &Changes) -> Vec<Rejected> {
        let refused = self.0.lock().unwrap();
        let is_so = |key: &ResourceKey, when: When| {
            let listener = next.listeners.get(&*key.name).filter(|it| it.closed.is_none());
            match when {
                When::Always => true,
                When::Open => listener.is_some(),
                When::Port(port) => {
                    next.backends.get(&*key.name).is_some_and(|it| it.port == port)
                        || listener.is_some_and(|it| it.port == port)
                }
            }
        };
        let named =
            changes.iter().filter(|key| refused.iter().any(|(it, when)| it == *key && is_so(key, *when)));
        named.map(|key| Rejected { key: key.clone(), reason: "poison".to_owned() }).collect()
    }
}

/// What was put in force so far.
#[derive(Clone, Default)]
pub(super) struct History {
    pub(super) now: Snapshot,
    pub(super) applied: Vec<(Generation, Changes)>,
    /// How often something was refused.
    pub(super) refused: usize,
}

impl History {
    fn generations(&self) -> Vec<Generation> {
        self.applied.iter().map(|(generation, _)| *generation).collect()
    }
}

struct Recorder {
    history: watch::Sender<History>,
    refusals: Refusals,
}

impl Apply for Recorder {
    fn apply(&mut self, next: &Snapshot, changes: &Changes) -> Result<(), Vec<Rejected>> {
        let rejected = self.refusals.rejected(next, changes);
        if !rejected.is_empty() {
            self.history.send_modify(|history| history.refused += 1);
            return Err(rejected);
        }
        self.history.send_modify(|history| {
            history.now = next.clone();
            history.applied.push((next.generation, changes.clone()));
        });
        Ok(())
    }
}

/// A running proxy; gone when it is dropped.
pub(super) struct Watcher {
    pub(super) refusals: Refusals,
    pub(super) progress: watch::Receiver<Progress>,
    history: watch::Receiver<History>,
    task: JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watcher {
    pub(super) fn over(network: &Network, proxy: Proxy) -> Self {
        Self::with(network, proxy, None, Refusals::default())
    }

    pub(super) fn with(
        network: &Network,
        proxy: Proxy,
        state_file: Option<StateFile>,
        refusals: Refusals,
    ) -> Self {
        Self::subscribed(network, Subscription::new(proxy, "test"), state_file, refusals)
    }

    pub(super) fn subscribed(
        network: &Network,
        subscription: Subscription,
        state_file: Option<StateFile>,
        refusals: Refusals,
    ) -> Self {
        let (recorder, history) = recorder(refusals.clone());
        let (progress, run) = client::follow(network.channel(), subscription, state_file, recorder);
        Self { refusals, progress, history, task: tokio::spawn(async move { match run.await {} }) }
    }

    pub(super) fn in_process(hub: &Arc<Hub>, proxy: Proxy) -> Self {
        let (recorder, history) = recorder(Refusals::default());
        let subscription = Subscription::new(proxy, "test");
        let hub = hub.clone();
        let link = move || hub.subscribe_channel();
        let (progress, run) = client::follow_channel(link, subscription, None, recorder);
        let task = tokio::spawn(async move { match run.await {} });
        Self { refusals: Refusals::default(), progress, history, task }
    }

    /// Waits until what happened so far satisfies the condition.
    pub(super) async fn until(&mut self, condition: impl Fn(&History) -> bool) -> History {
        let limit = Duration::from_secs(600);
        let reached = tokio::time::timeout(limit, self.history.wait_for(|it| condition(it))).await;
        let reached = reached.ok().map(|history| history.unwrap().clone());
        reached.unwrap_or_else(|| panic!("not reached: {:?}", self.now().generations()))
    }

    /// Waits for a generation to be in force.
    pub(super) async fn generation(&mut self, generation: Generation) -> History {
        self.until(|history| history.now.generation == generation).await
    }

    pub(super) fn now(&self) -> History {
        self.history.borrow().clone()
    }
}

fn recorder(refusals: Refusals) -> (Box<Recorder>, watch::Receiver<History>) {
    let (history, watched) = watch::channel(History::default());
    (Box::new(Recorder { history, refusals }), watched)
}

/// The names of a snapshot's resources.
pub(super) fn names(snapshot: &Snapshot) -> Vec<String> {
    let mut names: Vec<_> = snapshot.resources().map(|it| it.key().to_string()).collect();
    names.sort_unstable();
    names
}
