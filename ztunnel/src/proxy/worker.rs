//! One worker thread: accepts the connections of the pods that are assigned to it, and carries them.

use super::budget::{PendingHandshakes, SocketPermit};
use super::connector::PodConnector;
use super::metrics::{Counters, Metrics, PodSeries};
use super::revocation::Admitted;
use super::upstreams::Upstreams;
use super::{Command, Direction, Listeners, WorkerPool, inbound, outbound, plaintext, relay};
use crate::TunnelSettings;
use crate::local_pod::LocalPod;
use crate::state::State;
use crate::view::ConnectionTable;
use fairway_hbone::{Pool, WindowBudget};
use fairway_netns::socket;
use fairway_runtime::descriptors;
use fairway_runtime::drain::{self, Phase};
use fairway_runtime::task;
use fairway_runtime::workers::WorkerId;
use fairway_telemetry::{AccessLog, Padded, PlaintextLabels, Recorder, Series, Telemetry};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often what is kept for pods that have stopped is let go of.
const SWEEP: Duration = Duration::from_secs(5);

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

/// Runs the worker until [`Command::Stop`].
pub(crate) async fn run(worker: Rc<Worker>, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let mut sweeps = interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let command = tokio::select! {
            command = inbox.recv() => command,
            _ = sweeps.tick() => {
                worker.forget_stopped_pods();
                continue;
            }
        };
        let Some(command) = command else { return };
        match command {
            Command::Serve(pod, Listeners(listeners), drain) => {
                for (direction, listener) in listeners {
                    spawn_local(accept(worker.clone(), pod.clone(), direction, listener, drain.clone()));
                }
            }
            Command::Carry(permit, direction, stream, drain) => match TcpStream::from_std(stream) {
                Ok(stream) => worker.carry(permit, direction, stream, drain),
                Err(error) => {
                    let pod = &permit.pod().key;
                    tracing::warn!(%pod, %error, "a connection was dropped: it cannot be moved to another worker");
                }
            },
            Command::Review(affected) => worker.review(&affected),
            Command::Stop => return,
        }
    }
}

async fn accept(
    worker: Rc<Worker>,
    pod: Arc<LocalPod>,
    direction: Direction,
    listener: std::net::TcpListener,
    drain: drain::Watch,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(pod = %pod.key, ?direction, %error, "cannot accept connections of this pod");
            return;
        }
    };
    let closing = drain.reached(Phase::Closing);
    tokio::pin!(closing);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut closing => return,
        };
        match accepted {
            Ok((stream, client)) => {
                let room = descriptors::room_after(&stream);
                let most = worker.settings.max_pod_sockets;
                let Some(permit) = worker.worker_pool.active_pods().admit(&pod, room, most) else {
                    tracing::warn!(
                        pod = %pod.key,
                        ?direction,
                        %client,
                        open_files = descriptors::limit(),
                        "a connection was refused: the pod has as many sockets as one pod may have"
                    );
                    relay::reset(stream);
                    continue;
                };
                match worker.worker_pool.less_loaded(worker.id) {
                    None => worker.carry(permit, direction, stream, drain.clone()),
                    Some(other) => {
                        if let Ok(stream) = stream.into_std() {
                            let command = Command::Carry(permit, direction, stream, drain.clone());
                            worker.worker_pool.send(other, command);
                        }
                    }
                }
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                // Out of file descriptors or memory: an immediate retry would fail as well.
                tracing::warn!(pod = %pod.key, ?direction, %error, "cannot accept for now");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Fails to compile if the memory of an open connection grows.
fn small<F: Future>(future: F) -> F {
    const { assert!(size_of::<F>() <= 3072, "a connection's future has grown") };
    future
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
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

    fn carry(
        self: &Rc<Self>,
        permit: SocketPermit,
        direction: Direction,
        stream: TcpStream,
        drain: drain::Watch,
    ) {
        let pod = permit.pod();
        // The socket of a client that is gone has no peer address.
        let Ok(client) = stream.peer_addr().map(socket::canonical) else {
            return;
        };
        if let Err(error) = socket::tune(&stream, socket::KEEPALIVE) {
            tracing::debug!(pod = %pod.key, %error, "socket options cannot be set");
        }
        let (worker, local) = (self.clone(), self.worker_pod(pod));
        match direction {
            Direction::Outbound => {
                task::spawn_local(|| small(outbound::carry(worker, local, stream, client, drain, permit)));
            }
            Direction::Plaintext => {
                task::spawn_local(|| small(plaintext::carry(worker, local, stream, client, drain, permit)));
            }
            Direction::Inbound => {
                let handshake = local.handshakes.begin(self.settings.max_pod_handshakes);
                let guard = handshake.clone();
                let serving = task::spawn_local(|| {
                    small(inbound::serve(worker, local, stream, client, drain, guard, permit))
                });
                handshake.runs_in(serving.abort_handle());
            }
        }
    }

    /// Also the series of a pod go with it.
    fn forget_stopped_pods(&self) {
        self.pods.borrow_mut().retain(|_, local| !local.pod.is_stopped());
    }

    fn worker_pod(&self, pod: &Arc<LocalPod>) -> Rc<WorkerPod> {
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
