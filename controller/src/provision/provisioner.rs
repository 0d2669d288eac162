//! The loop: what is wanted, what is there, what has to be done, done.

use super::act::{self, StepError};
use super::manifest::{ManifestKey, ManifestKind};
use super::reconcile::{Reconciliation, Step, Why};
use super::watching::{LiveEvent, watch};
use super::{Live, Settings};
use crate::provision::Wanted;
use fairway_config::model::ObjectName;
use fairway_identity::TrustBundle;
use futures_util::{StreamExt, stream};
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// How many Gateways are worked at at once.
const AT_ONCE: usize = 8;
/// Pieces of news that may wait.
const QUEUE: usize = 256;
/// The pause before what failed is tried again: the first, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Makes what proxies run on, and looks after it.
pub struct Provisioner {
    client: Client,
    settings: Settings,
    reconciliation: Reconciliation,
    listed: BTreeSet<ManifestKind>,
    failing: BTreeMap<ObjectName, Failing>,
    /// Waypoints that nothing needs, and when they go.
    unneeded: BTreeMap<ObjectName, Instant>,
    troubles: watch::Sender<Troubles>,
}

/// What could not be done, by Gateway.
pub type Troubles = BTreeMap<ObjectName, String>;

/// Something that was done for a Gateway, or could not be: for an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionEvent {
    pub gateway: ObjectName,
    /// What sort of thing.
    pub what: What,
    pub message: String,
}

/// What sort of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Provisioned,
    /// Somebody had changed objects, and they were put right.
    Repaired,
    /// Objects were taken away.
    Removed,
    /// It did not work; it is tried again.
    Failed,
}

#[derive(Debug)]
struct Failing {
    keys: BTreeSet<ManifestKey>,
    pause: Duration,
    next: Instant,
    /// Whether it is being tried again just now.
    retried: bool,
}

/// What became of one step.
#[derive(Debug)]
struct Outcome {
    step: Step,
    result: Result<(), StepError>,
}

// === impl What ===

impl What {
    /// As an Event's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Provisioned => "Provisioned",
            Self::Repaired => "Repaired",
            Self::Removed => "Removed",
            Self::Failed => "ProvisioningFailed",
        }
    }
}

// === impl Provisioner ===

impl Provisioner {
    /// Nothing happens before it runs.
    pub fn new(client: Client, settings: Settings) -> Self {
        Self {
            client,
            settings,
            reconciliation: Reconciliation::default(),
            listed: BTreeSet::new(),
            failing: BTreeMap::new(),
            unneeded: BTreeMap::new(),
            troubles: watch::Sender::default(),
        }
    }

    /// What cannot be done at the moment, and why; for the Gateways' status.
    pub fn troubles(&self) -> watch::Receiver<Troubles> {
        self.troubles.subscribe()
    }

    /// Runs until nobody says any more what is wanted. `wanted` is none until everything has been compiled once.
    pub async fn run(
        mut self,
        mut wanted: watch::Receiver<Option<Arc<Wanted>>>,
        mut roots: watch::Receiver<Option<TrustBundle>>,
        events: mpsc::UnboundedSender<ProvisionEvent>,
    ) {
        let (sender, mut live_events) = mpsc::channel(QUEUE);
        let mut watching = JoinSet::new();
        for kind in ManifestKind::ALL {
            watching.spawn(watch(self.client.clone(), kind, sender.clone()));
        }
        drop(sender);
        self.replan(&mut wanted, &mut roots);
        loop {
            let next_try =
                self.failing.values().map(|it| it.next).chain(self.unneeded.values().copied()).min();
            tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) => self.replan(&mut wanted, &mut roots),
                    Err(_) => return,
                },
                changed = roots.changed() => match changed {
                    Ok(()) => self.replan(&mut wanted, &mut roots),
                    Err(_) => return,
                },
                Some(live_event) = live_events.recv() => self.take(live_event),
                () = until(next_try) => self.try_again(),
            }
            while let Ok(live_event) = live_events.try_recv() {
                self.take(live_event);
            }
            // What is there must be known before anything is made or taken away.
            if self.listed.len() == ManifestKind::ALL.len() {
                self.look_at_waypoints();
                self.settle(&events).await;
            }
        }
    }

    fn replan(
        &mut self,
        wanted: &mut watch::Receiver<Option<Arc<Wanted>>>,
        roots: &mut watch::Receiver<Option<TrustBundle>>,
    ) {
        let (wanted, roots) = (wanted.borrow_and_update(), roots.borrow_and_update());
        if let (Some(wanted), Some(roots)) = (&*wanted, &*roots) {
            self.reconciliation.want(wanted, roots, &self.settings);
        }
    }

    fn take(&mut self, live_event: LiveEvent) {
        match live_event {
            LiveEvent::All(kind, there) => {
                self.listed.insert(kind);
                self.reconciliation.listed(kind, there);
            }
            LiveEvent::One(key, live) => self.reconciliation.saw(key, live),
            LiveEvent::Gone(key) => self.reconciliation.lost(key),
        }
    }

    /// Lets waypoints go that nothing has needed for a while: a route that comes back finds its own still there.
    fn look_at_waypoints(&mut self) {
        let (now, unneeded) = (Instant::now(), self.reconciliation.unneeded());
        self.unneeded.retain(|it, _| unneeded.contains(it));
        for waypoint in unneeded {
            let due = *self.unneeded.entry(waypoint.clone()).or_insert(now + self.settings.waypoint_linger);
            if due <= now {
                // Should that fail, it is due again.
                self.unneeded.insert(waypoint.clone(), now + self.settings.waypoint_linger.max(AGAIN.1));
                self.reconciliation.let_go(&waypoint);
            }
        }
    }

    fn try_again(&mut self) {
        let now = Instant::now();
        for it in self.failing.values_mut().filter(|it| it.next <= now) {
            it.keys.iter().for_each(|key| self.reconciliation.failed(key.clone()));
            it.next = now + it.pause;
            it.retried = true;
        }
    }

    /// Does everything that has to be done, and tells of it.
    async fn settle(&mut self, events: &mpsc::UnboundedSender<ProvisionEvent>) {
        let mut done: BTreeMap<ObjectName, Vec<Outcome>> = BTreeMap::new();
        loop {
            // What was done may lead to more: pods need their account's uid.
            let steps = self.reconciliation.steps();
            if steps.is_empty() {
                break;
            }
            for (gateway, outcomes) in self.work(steps).await {
                done.entry(gateway).or_default().extend(outcomes);
            }
        }
        // What is not wanted any more, or on its way out, has no step left that could end its trouble.
        self.failing.retain(|gateway, it| !it.retried || done.contains_key(gateway));
        for (gateway, outcomes) in done {
            for it in self.note(&gateway, outcomes) {
                info!(%gateway, "{}: {}", it.what.reason(), it.message);
                let _ = events.send(it);
            }
        }
        let troubles = &self.troubles;
        let failing = &self.failing;
        troubles.send_if_modified(|it| {
            let before = it.len();
            it.retain(|gateway, _| failing.contains_key(gateway));
            before != it.len()
        });
    }

    /// Carries steps out, for several Gateways at once, for each in order.
    async fn work(&mut self, steps: BTreeMap<ObjectName, Vec<Step>>) -> Vec<(ObjectName, Vec<Outcome>)> {
        let client = &self.client;
        let work = stream::iter(steps).map(async |(gateway, steps)| {
            let mut results = Vec::with_capacity(steps.len());
            for step in steps {
                let result = carry_out(client, &step).await;
                results.push((step, result));
            }
            (gateway, results)
        });
        let done: Vec<_> = work.buffer_unordered(AT_ONCE).collect().await;
        let reconciliation = &mut self.reconciliation;
        let mut note = |(step, result): (Step, Result<Option<Live>, StepError>)| {
            let result = result.map(|live| {
                if let (Some(live), Step::Apply { manifest, .. }) = (live, &step) {
                    reconciliation.applied(manifest, live);
                }
            });
            Outcome { step, result }
        };
        done.into_iter().map(|(gateway, it)| (gateway, it.into_iter().map(&mut note).collect())).collect()
    }

    /// Says what of that which was done for a Gateway is worth telling.
    fn note(&mut self, gateway: &ObjectName, outcomes: Vec<Outcome>) -> Vec<ProvisionEvent> {
        let mut told: BTreeMap<What, Vec<String>> = BTreeMap::new();
        let mut failed = BTreeSet::new();
        for Outcome { step, result } in outcomes {
            let key = step.key().clone();
            match (result, step) {
                (Ok(()), Step::Apply { why, .. }) => {
                    let what = match why {
                        Why::Missing => Some(What::Provisioned),
                        Why::Edited => Some(What::Repaired),
                        Why::Changed | Why::Unknown => None,
                    };
                    what.into_iter().for_each(|it| told.entry(it).or_default().push(key.to_string()));
                }
                // Nobody is left to be told, and nothing is to be tried again.
                (Err(StepError::Ending(key)), _) => debug!(%gateway, "{}", StepError::Ending(key)),
                (Ok(()), _) => told.entry(What::Removed).or_default().push(key.to_string()),
                (Err(error), _) => {
                    warn!(%gateway, "{error}");
                    told.entry(What::Failed).or_default().push(error.to_string());
                    failed.insert(key);
                }
            }
        }
        let known = self.troubles.borrow().get(gateway).cloned();
        let trouble = told.get(&What::Failed).map(|it| it.join(". "));
        self.remember(gateway, failed, trouble.clone());
        told.into_iter()
            // Not with each of its tries.
            .filter(|(what, _)| *what != What::Failed || known != trouble)
            .map(|(what, parts)| ProvisionEvent {
                gateway: gateway.clone(),
                what,
                message: parts.join(if what == What::Failed { ". " } else { ", " }),
            })
            .collect()
    }

    fn remember(&mut self, gateway: &ObjectName, failed: BTreeSet<ManifestKey>, trouble: Option<String>) {
        let Some(trouble) = trouble else {
            self.failing.remove(gateway);
            return;
        };
        let pause = self.failing.get(gateway).map_or(AGAIN.0, |it| (it.pause * 2).min(AGAIN.1));
        let next = Instant::now() + pause;
        self.failing.insert(gateway.clone(), Failing { keys: failed, pause, next, retried: false });
        self.troubles
            .send_if_modified(|it| it.insert(gateway.clone(), trouble.clone()).as_ref() != Some(&trouble));
    }
}

impl fmt::Debug for Provisioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisioner").field("settings", &self.settings).finish_non_exhaustive()
    }
}

async fn carry_out(client: &Client, step: &Step) -> Result<Option<Live>, StepError> {
    match step {
        Step::Apply { manifest, over, .. } => act::apply(client, manifest, over.as_deref()).await.map(Some),
        Step::Delete { key, uid } => act::delete(client, key, uid).await.map(|()| None),
        Step::Refuse { key } => Err(StepError::Taken(key.clone())),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
