//! The tunnel, put together.

use crate::pod::find::Finder;
use crate::pod::{PodEvent, Registry};
use crate::proxy::{self, Fleet, Metrics, Worker};
use crate::report::Reporter;
use crate::state::{self, Applier};
use crate::succession::Duty;
use crate::view::{Journal, PodTable, View};
use crate::{Settings, pod};
use fairway_config::model::Mesh;
use fairway_identity::Identities;
use fairway_runtime::drain;
use fairway_runtime::workers::{WorkerId, Workers};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// A running tunnel.
pub struct Ztunnel {
    pods: mpsc::Sender<PodEvent>,
    view: View,
    fleet: Fleet,
    workers: Workers,
    registry: JoinHandle<()>,
    settings: Arc<Settings>,
    identities: Identities,
    finding: Option<JoinHandle<()>>,
}

impl Ztunnel {
    /// Starts the threads; nothing is captured before a configuration is applied and a pod registered. Call it inside a
    /// runtime, where the work that carries no traffic is done. It ends as `drain` says.
    pub fn start(
        settings: Settings,
        identities: Identities,
        metrics: &fairway_runtime::metrics::Metrics,
        drain: drain::Watch,
    ) -> io::Result<(Self, Applier)> {
        let settings = Arc::new(settings);
        let metrics = metrics.with_registry(Metrics::new);
        let (inboxes, receivers): (Vec<_>, Vec<_>) =
            (0..settings.workers.get()).map(|_| mpsc::unbounded_channel()).unzip();
        let fleet = Fleet::new(inboxes);
        let reviewers = fleet.clone();
        let (applier, state) =
            state::channel(settings.locality(), move |affected| reviewers.review(affected));
        let journals: Arc<[Journal]> = receivers.iter().map(|_| Journal::default()).collect();
        let view = View { state: state.clone(), pods: PodTable::default(), journals: journals.clone() };
        // Each worker takes its own end once, when its thread starts.
        let receivers = Arc::new(Mutex::new(receivers.into_iter().map(Some).collect::<Vec<_>>()));
        let parts = (settings.clone(), state.clone(), fleet.clone());
        let workers = Workers::start("ztunnel", settings.workers, move |WorkerId(number)| {
            let inbox = {
                let mut receivers = receivers.lock().unwrap_or_else(PoisonError::into_inner);
                receivers.get_mut(number).and_then(Option::take)
            };
            let journal = journals.get(number).cloned().unwrap_or_default();
            let (settings, state, fleet) = parts.clone();
            let worker = Worker::new(WorkerId(number), settings, state, fleet, metrics.clone(), journal);
            async move {
                if let Some(inbox) = inbox {
                    proxy::run(Rc::new(worker), inbox).await;
                }
            }
        })?;
        let surroundings = pod::Surroundings {
            settings: settings.clone(),
            state,
            identities: identities.clone(),
            fleet: fleet.clone(),
            drain: drain.clone(),
        };
        let (pods, events) = mpsc::channel(64);
        let registry = tokio::spawn(Registry::new(surroundings, view.pods.clone()).run(events, drain));
        Ok((Self { pods, view, fleet, workers, registry, settings, identities, finding: None }, applier))
    }

    /// Where pods are registered.
    pub fn pods(&self) -> mpsc::Sender<PodEvent> {
        self.pods.clone()
    }

    /// What it shows of itself.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Looks for pods that nobody registers among the processes below `proc`, as long as this tunnel is on duty. The answer
    /// turns true when those that were there at the start are captured, or cannot be.
    pub fn find_pods(&mut self, proc: PathBuf, duty: Duty) -> watch::Receiver<bool> {
        let (first, found) = watch::channel(false);
        let finder = Finder {
            settings: self.settings.clone(),
            state: self.view.state.clone(),
            pods: self.pods.clone(),
            table: self.view.pods.clone(),
            duty,
            proc,
        };
        self.finding = Some(tokio::spawn(finder.run(first)));
        found
    }

    /// Who tells the controller which pods are captured, as long as this tunnel is on duty.
    pub(crate) fn reporter(&self, duty: Duty) -> Reporter {
        Reporter { node: self.settings.node.clone(), view: self.view.clone(), duty }
    }

    /// Gets the identities of this node's captured pods, so that no connection has to wait for one when the pods are
    /// taken over. Waits for them only so long.
    pub async fn warm_up(&self) {
        let index = self.view.state.load();
        let captured = index.snapshot().workloads.values().filter(|it| it.mesh != Mesh::Outside);
        let ours = captured.filter(|it| it.node == self.settings.node).map(|it| &it.identity);
        let handles: Vec<_> = ours.map(|it| self.identities.subscribe(it)).collect();
        let ready = async {
            for handle in &handles {
                handle.ready().await;
            }
        };
        if tokio::time::timeout(self.settings.identity_wait, ready).await.is_err() {
            tracing::warn!("not every identity came in time; connections wait for theirs");
        }
    }

    /// Waits for the end: every connection done or cut off, every thread ended. `false` if one of them panicked.
    pub async fn ended(self) -> bool {
        if let Some(finding) = &self.finding {
            finding.abort();
        }
        let well = self.registry.await.is_ok();
        self.fleet.stop();
        self.workers.join().await && well
    }
}
