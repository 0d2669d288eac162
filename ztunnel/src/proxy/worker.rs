//! One worker: accepts for the pods at home on it, and carries.

use super::budget::{Accepted, Handshakes};
use super::link::{self, FromPod};
use super::metrics::PlaintextCounters;
use super::revocation::Admitted;
use super::{Command, Door, Fleet, Listeners, Metrics, inbound, outbound, plaintext};
use crate::Settings;
use crate::pod::LocalPod;
use crate::state::State;
use crate::view::Journal;
use fairway_hbone::{Pool, WindowBudget};
use fairway_netns::socket;
use fairway_runtime::descriptors;
use fairway_runtime::drain::{self, Phase};
use fairway_runtime::workers::WorkerId;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

/// What a worker's tasks share.
pub(crate) struct Worker {
    pub(super) id: WorkerId,
    pub(super) settings: Arc<Settings>,
    pub(super) state: State,
    pub(super) fleet: Fleet,
    pub(super) metrics: Metrics,
    pub(super) journal: Journal,
    pub(super) admitted: Admitted,
    pods: RefCell<HashMap<*const LocalPod, Rc<Here>, ahash::RandomState>>,
}

/// What this worker has for a pod.
pub(super) struct Here {
    pub(super) pod: Arc<LocalPod>,
    pub(super) from_pod: FromPod,
    /// Tunnels opened as this pod, from its namespace.
    pub(super) pool: Pool<FromPod>,
    /// What the windows of its tunnels may grow by, both ways.
    pub(super) windows: WindowBudget,
    /// What goes past the mesh's mTLS, in the pod's namespace.
    pub(super) plaintext: PlaintextCounters,
    /// Handshakes of peers.
    pub(super) handshakes: Handshakes,
    /// Connections open now to each endpoint, as far as this worker knows.
    pub(super) busy: RefCell<HashMap<SocketAddr, u32, ahash::RandomState>>,
}

/// Does what it is told until it is told to stop.
pub(crate) async fn run(worker: Rc<Worker>, mut inbox: mpsc::UnboundedReceiver<Command>) {
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Serve(pod, Listeners(listeners), drain) => {
                for (door, listener) in listeners {
                    spawn_local(accept(worker.clone(), pod.clone(), door, listener, drain.clone()));
                }
            }
            Command::Carry(accepted, door, stream, drain) => match TcpStream::from_std(stream) {
                Ok(stream) => worker.carry(accepted, door, stream, drain),
                Err(error) => {
                    let pod = &accepted.pod().key;
                    tracing::warn!(%pod, %error, "a connection was lost between workers");
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
    door: Door,
    listener: std::net::TcpListener,
    drain: drain::Watch,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(pod = %pod.key, ?door, %error, "cannot accept");
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
                let Some(accepted) = worker.fleet.crowd().admit(&pod, room, worker.settings.pod_sockets)
                else {
                    tracing::warn!(
                        pod = %pod.key,
                        ?door,
                        %client,
                        open_files = descriptors::limit(),
                        "a connection was refused: the pod has as many as it may have"
                    );
                    link::reset(stream);
                    continue;
                };
                match worker.fleet.relief(worker.id) {
                    None => worker.carry(accepted, door, stream, drain.clone()),
                    Some(other) => {
                        if let Ok(stream) = stream.into_std() {
                            let command = Command::Carry(accepted, door, stream, drain.clone());
                            worker.fleet.hand_over(other, command);
                        }
                    }
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: accepting at once would fail at once.
                tracing::warn!(pod = %pod.key, ?door, %error, "cannot accept for now");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Refuses to compile when what every connection costs while it is open has grown.
fn small<F: Future>(future: F) -> F {
    const { assert!(size_of::<F>() <= 3072, "a connection's future has grown") };
    future
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

impl Worker {
    pub(crate) fn new(
        id: WorkerId,
        settings: Arc<Settings>,
        state: State,
        fleet: Fleet,
        metrics: Metrics,
        journal: Journal,
    ) -> Self {
        let (admitted, pods) = (Admitted::default(), RefCell::default());
        Self { id, settings, state, fleet, metrics, journal, admitted, pods }
    }

    fn carry(self: &Rc<Self>, accepted: Accepted, door: Door, stream: TcpStream, drain: drain::Watch) {
        let pod = accepted.pod();
        // A client that is gone already has no address any more.
        let Ok(client) = stream.peer_addr().map(socket::canonical) else {
            return;
        };
        if let Err(error) = socket::tune(&stream, socket::KEEPALIVE) {
            tracing::debug!(pod = %pod.key, %error, "socket options");
        }
        let (worker, here) = (self.clone(), self.here(pod));
        match door {
            Door::Outbound => {
                spawn_local(small(outbound::carry(worker, here, stream, client, drain, accepted)));
            }
            Door::Plaintext => {
                spawn_local(small(plaintext::carry(worker, here, stream, client, drain, accepted)));
            }
            Door::Hbone => {
                let shaking = here.handshakes.begin(self.settings.pod_handshakes);
                let serving = inbound::serve(worker, here, stream, client, drain, shaking.clone(), accepted);
                shaking.runs_in(spawn_local(small(serving)).abort_handle());
            }
        }
    }

    fn here(&self, pod: &Arc<LocalPod>) -> Rc<Here> {
        let mut pods = self.pods.borrow_mut();
        if let Some(here) = pods.get(&Arc::as_ptr(pod)) {
            return here.clone();
        }
        pods.retain(|_, here| !here.pod.is_stopped());
        let from_pod = FromPod::new(pod.namespace.clone(), &self.settings);
        let windows = WindowBudget::new();
        let here = Rc::new(Here {
            pod: pod.clone(),
            from_pod: from_pod.clone(),
            pool: Pool::with_budget(from_pod, self.settings.client, windows.clone()),
            windows,
            handshakes: Handshakes::default(),
            plaintext: self.metrics.plaintext_of(pod.key.namespace()),
            busy: RefCell::default(),
        });
        pods.insert(Arc::as_ptr(pod), here.clone());
        here
    }
}
