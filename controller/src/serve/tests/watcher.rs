//! A proxy that takes configuration over, remembers what it was given, and refuses what it is told to.

use super::Network;
use crate::serve::Hub;
use fairway_config::model::{Generation, ResourceKey, ResourceKind};
use fairway_config::stream::client::{self, Progress, StateFile};
use fairway_config::stream::{Proxy, Subscription};
use fairway_config::{Apply, Changes, Rejected, Snapshot};
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Which resources are refused.
#[derive(Clone, Default)]
pub(super) struct Refusals(Arc<Mutex<HashSet<(ResourceKey, When)>>>);

/// When a resource is refused.
#[derive(Clone, PartialEq, Eq, Hash)]
enum When {
    /// In every version, closed or not.
    Always,
    /// A backend that has this port.
    Port(u16),
    /// A listener that has this port, closed or not.
    ListenerPort(u16),
    /// A listener that an authorization judges.
    Guarded,
    /// A listener that is not closed.
    Open,
    /// Refuses every difference in which anything changes.
    AnyChange,
    /// When this one changes and is no closed listener.
    Change(ResourceKey),
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

    /// Refuses this listener while it has this port, closed or not.
    pub(super) fn listener_with_port(&self, key: ResourceKey, port: u16) {
        self.0.lock().unwrap().insert((key, When::ListenerPort(port)));
    }

    /// Refuses this listener while an authorization judges it.
    pub(super) fn guarded_listener(&self, key: ResourceKey) {
        self.0.lock().unwrap().insert((key, When::Guarded));
    }

    /// Refuses whatever changes, and names this resource.
    pub(super) fn naming(&self, key: ResourceKey) {
        self.0.lock().unwrap().insert((key, When::AnyChange));
    }

    /// Names this resource when that one changes and is no closed listener.
    pub(super) fn naming_with(&self, key: ResourceKey, changed: ResourceKey) {
        self.0.lock().unwrap().insert((key, When::Change(changed)));
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
        let is_open =
            |key: &ResourceKey| next.listeners.get(&*key.name).is_some_and(|it| it.closed.is_none());
        let is_so = |key: &ResourceKey, when: &When| match when {
            When::Always => changes.contains(key),
            When::Open => changes.contains(key) && is_open(key),
            When::Port(port) => {
                let backend = next.backends.get(&*key.name);
                changes.contains(key) && backend.is_some_and(|it| it.port == *port)
            }
            When::ListenerPort(port) => {
                let listener = next.listeners.get(&*key.name);
                changes.contains(key) && listener.is_some_and(|it| it.port == *port)
            }
            When::Guarded => {
                let listener = next.listeners.get(&*key.name);
                changes.contains(key) && listener.is_some_and(|it| !it.authorizations.is_empty())
            }
            When::AnyChange => !changes.is_empty(),
            When::Change(changed) => {
                let is_closed = changed.kind == ResourceKind::Listener && !is_open(changed);
                changes.contains(changed) && !is_closed
            }
        };
        let named = refused.iter().filter(|(key, when)| is_so(key, when)).map(|(key, _)| key);
        let named: BTreeSet<_> = named.collect();
        let rejected = |key: &&ResourceKey| Rejected { key: (*key).clone(), reason: "poison".to_owned() };
        named.iter().map(rejected).collect()
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
