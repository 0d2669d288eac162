//! The tunnel as a whole: its threads, its pods and its configuration.

use crate::ownership::Ownership;
use crate::pod::find::Finder;
use crate::pod::{Leftovers, PodEvent, Registry};
use crate::proxy::{self, Counters, Metrics, Worker, WorkerPool};
use crate::report::Reporter;
use crate::state::{self, Applier};
use crate::view::{ConnectionTable, PodTable, View};
use crate::{TunnelSettings, pod};
use fairway_config::model::Mesh;
use fairway_identity::Identities;
use fairway_runtime::drain;
use fairway_runtime::workers::{WorkerId, Workers};
use fairway_telemetry::{PerWorker, Telemetry};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// A running tunnel. Dropping it stops the workers without a drain.
pub struct Ztunnel {
    pods: mpsc::Sender<PodEvent>,
    view: View,
    worker_pool: WorkerPool,
    workers: Workers,
    registry: JoinHandle<()>,
    settings: Arc<TunnelSettings>,
    identities: Identities,
    finding: Option<JoinHandle<()>>,
}

impl Ztunnel {
    /// Starts the worker threads. Nothing is captured until a configuration is applied and a pod is registered. Must be called
    /// inside a Tokio runtime, which then runs the pods' reconcilers. Follows `drain` to its end. Fails if a thread cannot be
    /// started.
    pub fn start(
        settings: TunnelSettings,
        identities: Identities,
        metrics: &fairway_runtime::metrics::Metrics,
        drain: drain::Watch,
    ) -> io::Result<(Self, Applier)> {
        let settings = Arc::new(settings);
        let counted = Metrics {
            counters: PerWorker::<Counters>::new(settings.workers),
            telemetry: Telemetry::new(settings.workers, settings.series),
        };
        metrics.with_registry(|it| it.register_collector(Box::new(counted.clone())));
        let (inboxes, receivers): (Vec<_>, Vec<_>) =
            (0..settings.workers.get()).map(|_| mpsc::unbounded_channel()).unzip();
        let worker_pool = WorkerPool::new(inboxes);
        let reviewers = worker_pool.clone();
        let review = move |affected| reviewers.review(affected);
        let (applier, state) = state::channel(settings.locality(), counted.telemetry.clone(), review);
        let connections: Arc<[ConnectionTable]> =
            receivers.iter().map(|_| ConnectionTable::default()).collect();
        let view = View { state: state.clone(), pods: PodTable::default(), connections: connections.clone() };
        // Each worker takes its own receiver once, when its thread starts.
        let receivers = Arc::new(Mutex::new(receivers.into_iter().map(Some).collect::<Vec<_>>()));
        let parts = (settings.clone(), state.clone(), worker_pool.clone());
        let workers = Workers::start("ztunnel", settings.workers, move |WorkerId(number)| {
            let inbox = {
                let mut receivers = receivers.lock().unwrap_or_else(PoisonError::into_inner);
                receivers.get_mut(number).and_then(Option::take)
            };
            let connections = connections.get(number).cloned().unwrap_or_default();
            let (settings, state, worker_pool) = parts.clone();
            let counted = counted.clone();
            async move {
                let id = WorkerId(number);
                let worker = Worker::new(id, settings, state, worker_pool, &counted, connections);
                if let (Some(inbox), Some(worker)) = (inbox, worker) {
                    proxy::run(Rc::new(worker), inbox).await;
                }
            }
        })?;
        let context = pod::ReconcilerContext {
            settings: settings.clone(),
            state,
            identities: identities.clone(),
            worker_pool: worker_pool.clone(),
            drain: drain.clone(),
        };
        let (pods, events) = mpsc::channel(64);
        let registry = tokio::spawn(Registry::new(context, view.pods.clone()).run(events, drain));
        Ok((
            Self { pods, view, worker_pool, workers, registry, settings, identities, finding: None },
            applier,
        ))
    }

    /// The channel to the pod registry.
    pub fn pods(&self) -> mpsc::Sender<PodEvent> {
        self.pods.clone()
    }

    /// The state that the admin port shows.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Starts the discovery of unregistered pods among the processes below `proc`, while this process owns the node's pods. The
    /// receiver becomes `true` when the pods that were there at the start are captured or have failed.
    pub fn find_pods(
        &mut self,
        proc: PathBuf,
        ownership: Ownership,
        leftovers: Leftovers,
    ) -> watch::Receiver<bool> {
        let (first, found) = watch::channel(false);
        let finder = Finder {
            settings: self.settings.clone(),
            state: self.view.state.clone(),
            pods: self.pods.clone(),
            table: self.view.pods.clone(),
            ownership,
            proc,
            leftovers,
        };
        self.finding = Some(tokio::spawn(finder.run(first)));
        found
    }

    /// Reports to the controller which pods are captured, while this process owns them.
    pub(crate) fn reporter(&self, ownership: Ownership) -> Reporter {
        Reporter { node: self.settings.node.clone(), view: self.view.clone(), ownership }
    }

    /// Requests the certificates of this node's captured pods, so that no connection waits for one after a handoff. Returns
    /// after [`TunnelSettings::identity_timeout`] at the latest.
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
        if tokio::time::timeout(self.settings.identity_timeout, ready).await.is_err() {
            tracing::warn!("not every certificate was issued in time; connections wait for theirs");
        }
    }

    /// Waits until every connection has ended or was cut off and every thread has ended. `false` if a thread has panicked.
    pub async fn ended(self) -> bool {
        if let Some(finding) = &self.finding {
            finding.abort();
        }
        let well = self.registry.await.is_ok();
        self.worker_pool.stop();
        self.workers.join().await && well
    }
}
