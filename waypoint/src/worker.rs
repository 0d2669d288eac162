//! What one worker serves with. Nothing in it is shared with another thread but what never changes.

use crate::connection::Connections;
use crate::limit::Nanos;
use crate::ports::tls::TlsBase;
use crate::ports::{PortId, Ports};
use crate::settings::ProxySettings;
use crate::shares::{MirrorPlaces, Shares};
use crate::table::{Socket, Tables};
use crate::telemetry::Telemetry;
use crate::upstream::Pool;
use crate::upstream::connect::Connector;
use crate::upstream::dialled::Dialled;
use arc_swap::{ArcSwap, Cache};
use fairway_balance::Moment;
use fairway_config::model::BackendKey;
use fairway_config::{Rejected, Snapshot};
use fairway_hbone::WindowBudget;
use fairway_identity::IdentityHandle;
use fairway_runtime::drain;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// What is in force: made by a commit, never changed, replaced as a whole.
#[derive(Clone, Debug, Default)]
pub struct Serving {
    pub tables: Tables,
    /// What stands behind each bound socket.
    pub ports: Ports,
}

/// Why a configuration cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    /// What all TLS configurations have in common cannot be made.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The proxy refuses these resources.
    #[error("the proxy would refuse {}", in_words(.0))]
    Rejected(Vec<Rejected>),
}

fn in_words(rejected: &[Rejected]) -> String {
    rejected.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What one worker serves with.
pub struct Worker {
    pub settings: Arc<ProxySettings>,
    /// Open client connections, which timeouts and the drain look at.
    pub connections: Connections,
    /// Connections to endpoints, for this request and later ones.
    pub pool: Rc<Pool>,
    /// The sockets for bytes and datagrams that all workers have dialled.
    pub dialled: Dialled,
    /// Counters and the log.
    pub telemetry: Rc<Telemetry>,
    /// Weights, endpoints and jitter.
    pub rng: RefCell<SmallRng>,
    /// Mirrored requests under way.
    pub mirrors: MirrorPlaces,
    /// Clients whose datagrams are carried.
    pub sessions: Rc<Cell<usize>>,
    /// The same by client address.
    pub session_shares: Shares<IpAddr>,
    /// With it tunnels are accepted, and mesh endpoints reached.
    pub identity: Option<IdentityHandle>,
    /// What the windows of tunnels that are accepted may grow by.
    pub windows: WindowBudget,
    pub drain: drain::Watch,
    /// The key of this proxy's own endpoints, should it be a waypoint.
    pub waypoint_key: BackendKey,
    epoch: Instant,
    serving: RefCell<Held>,
}

/// The configuration in force. The worker has a copy of its own (which shares all that is large), so that requests count
/// their references on this thread alone.
struct Held {
    newest: Cache<Arc<ArcSwap<Serving>>, Arc<Serving>>,
    copied: Arc<Serving>,
    copy: Rc<Serving>,
}

/// What all workers have in common.
#[derive(Clone)]
pub struct Shared {
    pub settings: Arc<ProxySettings>,
    /// The configuration in force.
    pub serving: Arc<ArcSwap<Serving>>,
    /// For mesh endpoints and tunnels.
    pub identity: Option<IdentityHandle>,
    /// The zero of [`Moment`].
    pub epoch: Instant,
    /// The sockets for bytes and datagrams that were dialled.
    pub dialled: Dialled,
}

// === impl Serving ===

impl Serving {
    /// What stands behind the sockets of a configuration, each of which has a number and is not bound.
    pub fn unbound(tables: Tables, snapshot: &Snapshot) -> Result<Self, NotServed> {
        let sockets: BTreeSet<Socket> = tables.sockets().map(|set| set.socket()).collect();
        let numbered: BTreeMap<Socket, PortId> =
            sockets.into_iter().enumerate().map(|(number, socket)| (socket, PortId(number))).collect();
        let ports = Ports::new(&numbered, &tables, snapshot, &TlsBase::new()?)?;
        Ok(Self { tables, ports })
    }
}

impl From<Vec<Rejected>> for NotServed {
    fn from(rejected: Vec<Rejected>) -> Self {
        Self::Rejected(rejected)
    }
}

// === impl Worker ===

impl Worker {
    /// Made on the worker's own thread.
    pub fn new(shared: Shared, telemetry: Telemetry, drain: drain::Watch) -> Rc<Self> {
        let Shared { settings, identity, .. } = &shared;
        let connector = Connector::new(identity.clone(), settings.timeouts, settings.locality.node.clone());
        Self::with_connector(shared, telemetry, drain, connector)
    }

    /// Like [`Self::new`], with connections to endpoints made by `connector`.
    pub fn with_connector(
        shared: Shared,
        telemetry: Telemetry,
        drain: drain::Watch,
        connector: Connector,
    ) -> Rc<Self> {
        let Shared { settings, serving, identity, epoch, dialled } = shared;
        let mut newest = Cache::new(serving);
        let copied = newest.load().clone();
        let copy = Rc::new(Serving::clone(&copied));
        Rc::new(Self {
            waypoint_key: settings.waypoint_key(),
            connections: Connections::new(),
            pool: Pool::new(connector, settings.limits.idle_upstreams),
            dialled,
            telemetry: Rc::new(telemetry),
            rng: RefCell::new(SmallRng::from_os_rng()),
            mirrors: MirrorPlaces::default(),
            sessions: Rc::default(),
            session_shares: Shares::default(),
            identity,
            windows: WindowBudget::new(),
            drain,
            epoch,
            serving: RefCell::new(Held { newest, copied, copy }),
            settings,
        })
    }

    /// The configuration in force.
    pub fn serving(&self) -> Rc<Serving> {
        let mut serving = self.serving.borrow_mut();
        let Held { newest, copied, copy } = &mut *serving;
        let now = newest.load();
        if !Arc::ptr_eq(now, copied) {
            *copied = now.clone();
            *copy = Rc::new(Serving::clone(now));
        }
        copy.clone()
    }

    /// A point in time as endpoints count it.
    pub fn moment(&self, at: Instant) -> Moment {
        Moment(u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX))
    }

    /// A point in time as limits count it.
    pub fn nanos(&self, at: Instant) -> Nanos {
        Nanos::after(at.saturating_duration_since(self.epoch))
    }

    /// Once a second: ends what waits too long.
    pub fn tick(&self) {
        // Also where nobody asks for it: what holds the configuration before holds its series.
        drop(self.serving());
        self.connections.tick(&self.settings.timeouts);
        let idle = self.settings.timeouts.upstream_idle.as_secs();
        self.pool.tick(u32::try_from(idle).unwrap_or(u32::MAX));
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("connections", &self.connections.count()).finish_non_exhaustive()
    }
}
