//! What the admin port shows: pods, open connections, and the configuration in force.

use crate::pod_status::{PodState, PodStatus};
use crate::state::State;
use fairway_config::model::WorkloadKey;
use fairway_identity::SpiffeId;
use fairway_netns::NamespaceId;
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What the admin port shows. Clones share the same state.
#[derive(Clone)]
pub struct View {
    pub(crate) state: State,
    pub(crate) pods: PodTable,
    pub(crate) connections: Arc<[ConnectionTable]>,
}

/// An open connection or tunnel, as `/connections` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionView {
    /// `outbound`, `inbound` or `plaintext`.
    pub direction: &'static str,
    /// `<namespace>/<name>` of the local pod.
    pub pod: String,
    /// The address of the client.
    pub client: SocketAddr,
    /// The original destination; for a tunnel, its authority.
    pub destination: Option<SocketAddr>,
    /// SPIFFE id of the local pod, if the configuration knows the pod.
    pub local: Option<SpiffeId>,
    /// SPIFFE id of the peer. `None` for plaintext.
    pub peer: Option<SpiffeId>,
    /// Seconds since the connection was accepted.
    pub seconds: u64,
}

impl View {
    /// The registered pods, in the order of their uids (`/pods`).
    pub fn pods(&self) -> Vec<PodStatus> {
        self.pods.all()
    }

    /// The network namespace of a pod's latest sandbox.
    pub(crate) fn namespace_of(&self, uid: &str) -> Option<NamespaceId> {
        lock(&self.pods.0).get(uid).and_then(|status| lock(status).namespace)
    }

    /// The open connections and tunnels of all workers, in no order (`/connections`).
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.connections.iter().flat_map(ConnectionTable::open).collect()
    }

    /// The configuration in force, abridged (`/config`).
    pub fn config(&self) -> serde_json::Value {
        let index = self.state.load();
        let snapshot = index.snapshot();
        let workload = |it: &fairway_config::model::Workload| {
            json!({
                "key": it.key.as_str(), "addresses": it.addresses, "identity": it.identity.as_str(),
                "mesh": format!("{:?}", it.mesh), "authorizations": it.authorizations.iter().map(|it| it.as_str()).collect::<Vec<_>>(),
            })
        };
        let service = |it: &fairway_config::model::Service| {
            json!({
                "key": it.key.as_str(), "addresses": it.addresses, "ports": it.ports.iter().map(|it| it.port).collect::<Vec<_>>(),
                "waypoint": it.waypoint.as_ref().map(|it| it.as_str()),
                "consumer_waypoints": it.consumer_waypoints.iter()
                    .map(|it| (it.namespace.to_string(), it.waypoint.to_string())).collect::<BTreeMap<_, _>>(),
            })
        };
        json!({
            "generation": snapshot.generation.0,
            "workloads": snapshot.workloads.values().map(|it| workload(it)).collect::<Vec<_>>(),
            "services": snapshot.services.values().map(|it| service(it)).collect::<Vec<_>>(),
            "endpoints": snapshot.endpoints.values().map(|it| json!({
                "backend": it.backend.as_str(), "internal_traffic_policy": format!("{:?}", it.internal_traffic_policy),
                "session_affinity": format!("{:?}", it.session_affinity),
                "endpoints": it.endpoints.iter().map(|it| json!({
                    "address": it.address, "state": format!("{:?}", it.state),
                    "identity": it.identity.as_ref().map(|it| it.as_str()), "node": it.node,
                    "for_nodes": it.hints.as_ref().map(|it| &it.nodes),
                    "for_zones": it.hints.as_ref().map(|it| &it.zones),
                })).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "authorizations": snapshot.authorizations.keys().map(|it| it.as_str()).collect::<Vec<_>>(),
        })
    }
}

/// The status of every registered pod. The lock is held briefly, and never on the path of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodTable(Arc<Mutex<BTreeMap<Arc<str>, SharedStatus>>>);

/// The status of one pod, written by its reconciler.
pub(crate) type SharedStatus = Arc<Mutex<PodStatus>>;

impl PodTable {
    pub(crate) fn add(&self, uid: &Arc<str>, key: &WorkloadKey) -> SharedStatus {
        let status = Arc::new(Mutex::new(PodStatus {
            uid: uid.clone(),
            pod: key.as_arc(),
            state: PodState::Waiting,
            reason: None,
            repairs: 0,
            connections: 0,
            fence: None,
            namespace: None,
        }));
        lock(&self.0).insert(uid.clone(), status.clone());
        status
    }

    pub(crate) fn remove(&self, uid: &str) {
        lock(&self.0).remove(uid);
    }

    pub(crate) fn uids(&self) -> HashSet<Arc<str>> {
        lock(&self.0).keys().cloned().collect()
    }

    fn all(&self) -> Vec<PodStatus> {
        lock(&self.0).values().map(|status| lock(status).clone()).collect()
    }
}

/// The open connections of one worker. The lock is contended only while `/connections` is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionTable(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, (Instant, ConnectionView), ahash::RandomState>,
}

impl ConnectionTable {
    pub(crate) fn insert(&self, since: Instant, connection: ConnectionView) -> u64 {
        let mut open = lock(&self.0);
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, (since, connection));
        number
    }

    pub(crate) fn remove(&self, number: u64) {
        lock(&self.0).connections.remove(&number);
    }

    fn open(&self) -> Vec<ConnectionView> {
        let open = lock(&self.0);
        let aged = |(since, it): &(Instant, ConnectionView)| ConnectionView {
            seconds: since.elapsed().as_secs(),
            ..it.clone()
        };
        open.connections.values().map(aged).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
