//! What the tasks of one worker thread share: its settings and counters, and its pods.

use super::WorkerPool;
use super::budget::PendingHandshakes;
use super::connector::PodConnector;
use super::metrics::{Counters, Metrics, PodSeries};
use super::revocation::Admitted;
use super::upstreams::Upstreams;
use crate::TunnelSettings;
use crate::local_pod::LocalPod;
use crate::state::State;
use crate::view::ConnectionTable;
use fairway_hbone::{Pool, WindowBudget};
use fairway_runtime::workers::WorkerId;
use fairway_telemetry::{AccessLog, Padded, PlaintextLabels, Recorder, Series, Telemetry};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// What all tasks of a worker share.
pub(crate) struct Worker {
    pub(super) id: WorkerId,
    pub(super) settings: Arc<TunnelSettings>,
    pub(super) state: State,
    pub(super) worker_pool: WorkerPool,
    pub(super) counters: Arc<Padded<Counters>>,
    pub(super) telemetry: Telemetry,
    pub(super) recorder: Rc<Recorder>,
    pub(super) connections: ConnectionTable,
    pub(super) admitted: Admitted,
    pods: RefCell<HashMap<*const LocalPod, Rc<WorkerPod>, ahash::RandomState>>,
    /// The zero of the records' time.
    epoch: Instant,
}

/// A pod on this worker: its connection pool, its limits and its counters.
pub(super) struct WorkerPod {
    pub(super) pod: Arc<LocalPod>,
    pub(super) connector: PodConnector,
    /// Tunnels that are opened with the pod's identity, from its network namespace.
    pub(super) pool: Pool<PodConnector>,
    /// Bytes by which the receive windows of all the pod's tunnels may grow.
    pub(super) windows: WindowBudget,
    /// Where connections without mTLS count.
    pub(super) plaintext: Series<PlaintextLabels>,
    /// Where each of its connections counts.
    pub(super) series: PodSeries,
    /// TLS handshakes of peers that are in progress.
    pub(super) handshakes: PendingHandshakes,
    /// The endpoints that the pod connects to.
    pub(super) upstreams: Upstreams,
}

impl Worker {
    pub(crate) fn new(
        id: WorkerId,
        settings: Arc<TunnelSettings>,
        state: State,
        worker_pool: WorkerPool,
        metrics: &Metrics,
        connections: ConnectionTable,
    ) -> Option<Self> {
        let counters = metrics.counters.get(id)?.clone();
        let telemetry = metrics.telemetry.clone();
        let recorder = telemetry.recorder(id, AccessLog::Carried, None)?;
        Some(Self {
            id,
            settings,
            state,
            worker_pool,
            counters,
            telemetry,
            recorder,
            connections,
            admitted: Admitted::default(),
            pods: RefCell::default(),
            epoch: Instant::now(),
        })
    }

    /// Also the series of a pod go with it.
    pub(super) fn forget_stopped_pods(&self) {
        self.pods.borrow_mut().retain(|_, local| !local.pod.is_stopped());
    }

    pub(super) fn worker_pod(&self, pod: &Arc<LocalPod>) -> Rc<WorkerPod> {
        let mut pods = self.pods.borrow_mut();
        if let Some(local) = pods.get(&Arc::as_ptr(pod)) {
            return local.clone();
        }
        let connector = PodConnector::new(pod.namespace.clone(), &self.settings);
        let windows = WindowBudget::new();
        let local = Rc::new(WorkerPod {
            pod: pod.clone(),
            connector: connector.clone(),
            pool: Pool::with_budget(connector, self.settings.client, windows.clone()),
            windows,
            handshakes: PendingHandshakes::default(),
            plaintext: self
                .telemetry
                .plaintext()
                .series(PlaintextLabels { namespace: pod.key.namespace().into() }),
            series: PodSeries::default(),
            upstreams: Upstreams::new(self.epoch),
        });
        pods.insert(Arc::as_ptr(pod), local.clone());
        local
    }
}
