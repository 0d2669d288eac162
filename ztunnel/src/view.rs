//! What the tunnel shows of itself on its admin port.

use crate::pod::PodStatus;
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

/// What the tunnel shows of itself. Cheap to clone.
#[derive(Clone)]
pub struct View {
    pub(crate) state: State,
    pub(crate) pods: PodTable,
    pub(crate) journals: Arc<[Journal]>,
}

/// A connection that is open.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionView {
    /// `outbound`, `inbound` or `plaintext`.
    pub direction: &'static str,
    /// The local pod.
    pub pod: String,
    /// Who connected.
    pub client: SocketAddr,
    /// What was dialled.
    pub destination: Option<SocketAddr>,
    /// Whose identity this end has, if that is known yet.
    pub local: Option<SpiffeId>,
    /// Whose the far end has; none for plaintext.
    pub peer: Option<SpiffeId>,
    /// How long it has been open.
    pub seconds: u64,
}

impl View {
    /// `/pods`
    pub fn pods(&self) -> Vec<PodStatus> {
        self.pods.all()
    }

    /// The network namespace that a pod was last seen in.
    pub(crate) fn namespace_of(&self, uid: &str) -> Option<NamespaceId> {
        lock(&self.pods.0).get(uid).and_then(|status| lock(status).namespace)
    }

    /// `/connections`
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.journals.iter().flat_map(Journal::open).collect()
    }

    /// `/config`: what is in force, in short.
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
                "backend": it.backend.as_str(), "reach": format!("{:?}", it.reach),
                "affinity": format!("{:?}", it.affinity),
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

/// Every registered pod's status. Locked for a look only, never on a connection's way.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodTable(Arc<Mutex<BTreeMap<Arc<str>, Status>>>);

/// A pod's line in the table, which its keeper writes.
pub(crate) type Status = Arc<Mutex<PodStatus>>;

impl PodTable {
    pub(crate) fn add(&self, uid: &Arc<str>, key: &WorkloadKey) -> Status {
        let status = Arc::new(Mutex::new(PodStatus {
            uid: uid.clone(),
            pod: key.as_arc(),
            state: crate::PodState::Waiting,
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

/// The open connections of one worker. Its lock is contended only while somebody looks at `/connections`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, (Instant, ConnectionView), ahash::RandomState>,
}

impl Journal {
    pub(crate) fn enter(&self, since: Instant, connection: ConnectionView) -> u64 {
        let mut open = lock(&self.0);
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, (since, connection));
        number
    }

    pub(crate) fn leave(&self, number: u64) {
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
