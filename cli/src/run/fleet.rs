//! The proxies of one process: one for each Gateway and waypoint that is wanted, each with its own identity, as in a cluster.

use fairway_config::model::{Generation, ObjectName};
use fairway_config::stream::client::{Progress, follow_channel};
use fairway_config::stream::{Proxy as Subscriber, Subscription};
use fairway_controller::compile::{Proxy, ProxyClass};
use fairway_controller::serve::Hub;
use fairway_identity::Identities;
use fairway_runtime::drain::{self, Deadlines};
use fairway_runtime::metrics::Metrics;
use fairway_waypoint::{ProxySettings, Waypoint};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info};

/// How long a proxy that is wanted no more may take to end.
const RETIREMENT: Deadlines = Deadlines { linger: Duration::from_secs(2), grace: Duration::from_secs(30) };
/// How long to wait for a proxy to take a configuration before going on without it.
const SETTLING: Duration = Duration::from_secs(5);

/// The proxies of this process.
pub struct Fleet {
    hub: Arc<Hub>,
    identities: Identities,
    workers: NonZeroUsize,
    drain: drain::Watch,
    metrics: Metrics,
    running: BTreeMap<ObjectName, Running>,
    states: States,
}

struct Running {
    proxy: Proxy,
    waypoint: Waypoint,
    following: JoinHandle<()>,
    progress: watch::Receiver<Progress>,
    /// Ends this one alone.
    retire: drain::Trigger,
}

/// How far each proxy is, for the admin port.
#[derive(Clone, Default)]
pub struct States(Arc<Mutex<BTreeMap<ObjectName, watch::Receiver<Progress>>>>);

// === impl Fleet ===

impl Fleet {
    /// A fleet without proxies; they are started as the configuration asks for them.
    pub fn new(
        hub: Arc<Hub>,
        identities: Identities,
        workers: NonZeroUsize,
        drain: drain::Watch,
        metrics: Metrics,
    ) -> Self {
        Self { hub, identities, workers, drain, metrics, running: BTreeMap::new(), states: States::default() }
    }

    /// How far each proxy is.
    pub fn states(&self) -> States {
        self.states.clone()
    }

    /// Starts proxies that are wanted of this generation and do not run, ends those that are wanted no more.
    pub async fn follow(&mut self, wanted: &[Proxy], generation: Generation) {
        let names: BTreeSet<&ObjectName> = wanted.iter().map(|proxy| &proxy.name).collect();
        let gone: Vec<ObjectName> =
            self.running.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in gone {
            if let Some(running) = self.running.remove(&name) {
                self.states.forget(&name);
                info!(proxy = %name, "wanted no more");
                running.let_go(generation).await;
                tokio::spawn(running.end());
            }
        }
        for proxy in wanted {
            if self.running.contains_key(&proxy.name) {
                continue;
            }
            match self.start(proxy) {
                Ok(running) => {
                    self.states.show(&proxy.name, running.progress.clone());
                    self.running.insert(proxy.name.clone(), running);
                }
                Err(error) => error!(proxy = %proxy.name, "cannot be started: {error:#}"),
            }
        }
    }

    fn start(&self, proxy: &Proxy) -> anyhow::Result<Running> {
        let settings = ProxySettings {
            workers: self.workers,
            identity: Some(proxy.identity.clone()),
            ..ProxySettings::new(proxy.name.clone())
        };
        let (retire, own_drain) = drain::channel();
        let identity = self.identities.subscribe(&proxy.identity);
        let (waypoint, applier) = Waypoint::start(settings, Some(identity), own_drain)?;
        self.metrics.with_registry(|registry| waypoint.metrics().register(registry));
        let hub = self.hub.clone();
        let subscription =
            Subscription::new(Subscriber::Gateway(proxy.name.clone()), env!("CARGO_PKG_VERSION"));
        let (progress, following) =
            follow_channel(move || hub.subscribe_channel(), subscription, None, Box::new(applier));
        let following = tokio::spawn(async move {
            following.await;
        });
        Ok(Running { proxy: proxy.clone(), waypoint, following, progress, retire })
    }

    /// Waits until every proxy has something in force, or has had its time.
    pub async fn settled(&self, generation: Generation) {
        for (name, running) in &self.running {
            let mut progress = running.progress.clone();
            let first = progress.wait_for(|it| it.generation.0 > 0 || !it.rejected.is_empty());
            if tokio::time::timeout(SETTLING, first).await.is_err() {
                error!(proxy = %name, %generation, "has taken no configuration in {SETTLING:?}");
            }
        }
    }

    /// A line for each proxy.
    pub fn describe(&self) -> Vec<String> {
        let line = |running: &Running| {
            let what = match running.proxy.class {
                ProxyClass::Gateway => "gateway",
                ProxyClass::Waypoint => "waypoint",
            };
            let ports: Vec<String> =
                running.proxy.listeners.iter().map(|(name, port)| format!("{name}:{port}")).collect();
            format!("{what} {} as {}: {}", running.proxy.name, running.proxy.identity, ports.join(" "))
        };
        self.running.values().map(line).collect()
    }

    /// Drains with the process and waits for the end of all.
    pub async fn ended(self) -> bool {
        let Self { drain, running, .. } = self;
        let ends: Vec<_> = running.into_values().map(|it| tokio::spawn(it.end_with(drain.clone()))).collect();
        drop(drain);
        let mut well = true;
        for end in ends {
            well &= end.await.unwrap_or(false);
        }
        well
    }
}

// === impl Running ===

impl Running {
    /// Waits until it has closed its sockets, as the generation without it wants, and has it hear of nothing that comes after:
    /// who comes next by the same name must find them free.
    async fn let_go(&self, generation: Generation) {
        let mut progress = self.progress.clone();
        let closed = progress.wait_for(|it| it.generation >= generation);
        let _ = tokio::time::timeout(RETIREMENT.linger, closed).await;
        self.following.abort();
    }

    /// Ends one proxy and waits for it; says whether it ended well.
    async fn end(self) -> bool {
        self.retire.drain(RETIREMENT).await;
        self.waypoint.join().await
    }

    /// Ends it as the process ends: the same phases at the same times.
    async fn end_with(self, drain: drain::Watch) -> bool {
        self.retire.follow(&drain).await;
        self.following.abort();
        let well = self.waypoint.join().await;
        drop(drain);
        well
    }
}

// === impl States ===

impl States {
    fn show(&self, name: &ObjectName, progress: watch::Receiver<Progress>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), progress);
    }

    fn forget(&self, name: &ObjectName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// For the admin port.
    pub fn describe(&self) -> serde_json::Value {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let described = states.iter().map(|(name, progress)| {
            let progress = progress.borrow();
            json!({
                "name": name.to_string(),
                "generation": progress.generation.0,
                "rejected": progress.rejected.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        });
        described.collect()
    }
}
