//! The proxy as a whole: workers that serve, and the control side that puts configurations in force.

use crate::datagram;
use crate::listen::accept::accept;
use crate::listen::socket::{self, Holder};
use crate::ports::tls::TlsBase;
use crate::ports::{Plan, PortId, Ports};
use crate::settings::ProxySettings;
use crate::table::{ListenerSet, Socket, SocketKind, Tables};
use crate::telemetry::{Metrics, Telemetry};
use crate::upstream::cluster::Registry;
use crate::upstream::dialled::Dialled;
use crate::view::View;
use crate::worker::{Serving, Shared, Worker};
use arc_swap::ArcSwap;
use fairway_config::model::{ResourceKey, ResourceKind};
use fairway_config::{Apply, Changes, Rejected, Snapshot};
use fairway_identity::IdentityHandle;
use fairway_runtime::drain::{self, Phase};
use fairway_runtime::workers::Workers;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// A running proxy. Only a drain ends it, and [`Self::join`] waits for that.
#[derive(Debug)]
pub struct Waypoint {
    workers: Workers,
    metrics: Metrics,
    view: View,
}

/// Puts configurations in force.
#[derive(Debug)]
pub struct Applier {
    settings: Arc<ProxySettings>,
    serving: Arc<ArcSwap<Serving>>,
    registry: Registry,
    tls: TlsBase,
    bound: BTreeMap<Socket, Bound>,
    next_port: usize,
    /// Where each worker gets its share of a socket.
    workers: Vec<mpsc::UnboundedSender<WorkerListener>>,
    /// What was put in force although something could not be bound: the next configuration differs from that one.
    owed: Changes,
}

/// A socket that workers accept on.
#[derive(Debug)]
struct Bound {
    id: PortId,
    address: SocketAddr,
    closing: watch::Sender<bool>,
}

/// A worker's share of a socket.
struct WorkerListener {
    port: PortId,
    socket: socket::Bound,
    closing: watch::Receiver<bool>,
}

/// Why a proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The threads of the workers, or their event loops, cannot be made.
    #[error("cannot start the workers: {0}")]
    Workers(#[from] io::Error),
    /// What all TLS configurations have in common cannot be made.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

// === impl Waypoint ===

impl Waypoint {
    /// Starts the workers. They accept nothing before the first configuration is applied.
    pub fn start(
        settings: ProxySettings,
        identity: Option<IdentityHandle>,
        drain: drain::Watch,
    ) -> Result<(Self, Applier), StartError> {
        let settings = Arc::new(settings);
        let metrics = Metrics::new(&settings);
        let serving = Arc::new(ArcSwap::from_pointee(Serving {
            tables: Tables::counted_by(metrics.telemetry.clone()),
            ..Serving::default()
        }));
        let epoch = Instant::now();
        let view = View::new(serving.clone(), settings.clone(), epoch);
        let dialled = Dialled::default();
        let shared =
            Shared { settings: settings.clone(), serving: serving.clone(), identity, epoch, dialled };
        let count = settings.workers.get();
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let receivers: Vec<_> = receivers.into_iter().map(Some).collect();
        let receivers = Arc::new(Mutex::new(receivers));
        let counted = metrics.clone();
        let workers = Workers::start("waypoint", settings.workers, move |id| {
            let taken = receivers.lock().ok().and_then(|mut all| all.get_mut(id.0).and_then(Option::take));
            let (shared, drain, metrics) = (shared.clone(), drain.clone(), counted.clone());
            async move {
                let telemetry = Telemetry::for_worker(&metrics, id, &shared.settings);
                if let (Some(listeners), Some(telemetry)) = (taken, telemetry) {
                    run(Worker::new(shared, telemetry, drain), listeners).await;
                }
            }
        })?;
        let locality = settings.locality.clone();
        let applier = Applier {
            settings,
            serving: serving.clone(),
            registry: Registry::new(locality),
            tls: TlsBase::new()?,
            bound: BTreeMap::new(),
            next_port: 0,
            workers: senders,
            owed: Changes::new(),
        };
        Ok((Self { workers, metrics, view }, applier))
    }

    /// What the workers count, for a registry.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// What is in force, for the admin port.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Waits for the end of every worker; `false` if one panicked.
    pub async fn join(self) -> bool {
        self.workers.join().await
    }
}

/// A worker's life: listeners that open, a tick a second, the phases of the drain.
async fn run(worker: Rc<Worker>, mut listeners: mpsc::UnboundedReceiver<WorkerListener>) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = worker.drain.clone();
    let mut phase = Phase::Running;
    while phase < Phase::Closing {
        let next = if phase == Phase::Running { Phase::Draining } else { Phase::Closing };
        tokio::select! {
            () = drain.reached(next) => {
                phase = next;
                worker.connections.enter(phase);
            }
            Some(listener) = listeners.recv() => open(&worker, listener),
            _ = ticks.tick() => worker.tick(),
        }
    }
    let mut looks = interval(Duration::from_millis(20));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // One look more than needed: what was accepted at the very end has to show up first.
    let mut quiet = 0;
    while quiet < 2 && phase < Phase::Forced {
        tokio::select! {
            () = drain.reached(Phase::Forced) => phase = Phase::Forced,
            _ = looks.tick() => {
                // Also those that were accepted since.
                worker.connections.enter(phase);
                quiet = if worker.connections.count() == 0 { quiet + 1 } else { 0 };
            }
        }
    }
    // What is cut off gets a moment to say so: dropped with the worker, it would look as if it had ended well.
    let mut moments = if phase == Phase::Forced { 25 } else { 0 };
    while moments > 0 && worker.connections.count() > 0 {
        worker.connections.enter(phase);
        looks.tick().await;
        moments -= 1;
    }
}

fn open(worker: &Rc<Worker>, listener: WorkerListener) {
    let WorkerListener { port, socket, closing } = listener;
    match socket {
        socket::Bound::Stream(listener) => match TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::task::spawn_local(accept(worker.clone(), port, listener, closing));
            }
            Err(error) => tracing::error!(%error, "a listener cannot be watched"),
        },
        socket::Bound::Datagram(socket) => {
            tokio::task::spawn_local(datagram::serve(worker.clone(), port, socket, closing));
        }
    }
}

// === impl Applier ===

impl Applier {
    /// The sockets that are bound, and where.
    pub fn bound(&self) -> impl Iterator<Item = (Socket, SocketAddr)> {
        self.bound.iter().map(|(socket, bound)| (*socket, bound.address))
    }

    fn bind(&mut self, set: &ListenerSet) -> Result<Vec<WorkerListener>, Vec<Rejected>> {
        let socket = set.socket();
        let refused = |error: io::Error| -> Vec<Rejected> {
            let what = match socket.kind {
                SocketKind::Stream => "",
                SocketKind::Datagram => "UDP ",
            };
            let text = match socket.address {
                Some(address) => format!("{what}{}", SocketAddr::new(address, socket.port)),
                None => format!("{what}port {}", socket.port),
            };
            let reason = format!("cannot listen on {text}: {error}{}", remedy(&error));
            let listeners = set.listeners().iter().map(|it| it.listener.key.as_arc());
            listeners
                .map(|key| Rejected {
                    key: ResourceKey::new(ResourceKind::Listener, key),
                    reason: reason.clone(),
                })
                .collect()
        };
        // Every address and one of them are in each other's way.
        let is_ours = |it: &Socket| {
            let same = it.port == socket.port && it.kind == socket.kind;
            same && (it.address.is_none() || socket.address.is_none())
        };
        let holder = if self.bound.keys().any(is_ours) { Holder::Ourselves } else { Holder::Nobody };
        let sockets = socket::bind(socket, self.settings.workers, holder).map_err(refused)?;
        let address = sockets.first().map_or(Err(io::ErrorKind::NotFound.into()), socket::Bound::address);
        let address = address.map_err(refused)?;
        let id = PortId(self.next_port);
        self.next_port += 1;
        let (closing, closed) = watch::channel(false);
        self.bound.insert(socket, Bound { id, address, closing });
        let listeners =
            sockets.into_iter().map(|socket| WorkerListener { port: id, socket, closing: closed.clone() });
        Ok(listeners.collect())
    }

    fn ids(&self) -> BTreeMap<Socket, PortId> {
        self.bound.iter().map(|(socket, bound)| (*socket, bound.id)).collect()
    }
}

impl Apply for Applier {
    /// A configuration that is wrong is refused whole. If only sockets cannot be bound, everything else of it is put in
    /// force all the same, and the listeners that are missing are named.
    fn apply(&mut self, next: &Snapshot, changes: &Changes) -> Result<(), Vec<Rejected>> {
        let before = self.serving.load_full();
        let changes: Changes = changes.union(&self.owed).cloned().collect();
        if next.resources().next().is_none() && before.tables.is_of_waypoint() {
            // Its Gateway is gone, and this process is about to be told to end. Nobody is sent here any more, and who is here
            // already is served to the end.
            tracing::info!("nothing is left to serve: what was in force stays until the end");
            self.owed = changes;
            return Ok(());
        }
        let tables: Tables = before.tables.next(next, &changes, &mut self.registry)?;
        let wanted: BTreeSet<Socket> = tables.sockets().map(|set| set.socket()).collect();
        let plan = Plan::new(&self.ids(), &wanted);
        let (mut unbound, mut opened) = (Vec::new(), Vec::new());
        for socket in &plan.bind {
            let Some(set) = tables.socket(socket) else { continue };
            match self.bind(set) {
                Ok(listeners) => opened.push((*socket, listeners)),
                Err(rejected) => unbound.extend(rejected),
            }
        }
        let ports = match Ports::new(&self.ids(), &tables, next, &self.tls) {
            Ok(ports) => ports,
            Err(rejected) => {
                for (socket, _) in &opened {
                    self.bound.remove(socket);
                }
                return Err(rejected);
            }
        };
        self.serving.store(Arc::new(Serving { tables, ports }));
        for (_, listeners) in opened {
            for (listener, worker) in listeners.into_iter().zip(&self.workers) {
                // A worker that is gone has drained.
                let _ = worker.send(listener);
            }
        }
        for (socket, _) in &plan.close {
            if let Some(bound) = self.bound.remove(socket) {
                bound.closing.send_replace(true);
            }
        }
        if unbound.is_empty() {
            self.owed.clear();
            return Ok(());
        }
        for rejected in &unbound {
            tracing::warn!(listener = %rejected.key, reason = %rejected.reason, "a listener is not served");
        }
        self.owed = changes;
        Err(unbound)
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            " (another process listens there: end it, or give the listener another port)"
        }
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need a privilege: use a higher port, or give the process CAP_NET_BIND_SERVICE)"
        }
        io::ErrorKind::AddrNotAvailable => " (no network interface has this address)",
        _ => "",
    }
}
