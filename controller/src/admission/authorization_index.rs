//! What of the compiled configuration says who may have what: which service account is which Gateway's, and which
//! identities live on which node.

use super::own_pods::{OwnPods, PodRejection, ProxyProgram};
use super::reviewed::Reviewed;
use crate::compile::Output;
use crate::provision::{Proxy, Want};
use crate::resources::Edit;
use fairway_config::model::{Mesh, ObjectName, Resource, ResourceKey, ResourceKind, Workload};
use fairway_identity::SpiffeId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// Who may have what. Shared by those that serve, kept by the one that compiles.
#[derive(Debug)]
pub struct AuthorizationIndex {
    /// Held for moments, never while anything waits.
    entries: Mutex<Entries>,
    filled: watch::Sender<bool>,
    /// Counts what is news of the pods that Fairway made.
    pod_changes: watch::Sender<u64>,
}

/// How long a pod's first call waits for the watch to bring the pod: its token is there before we have seen it.
const POD_WAIT: Duration = Duration::from_secs(5);

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

#[derive(Debug, Default)]
struct Entries {
    /// Gateways by the service account their proxy runs as.
    gateways: Map<ObjectName, ObjectName>,
    accounts: Map<ObjectName, ObjectName>,
    /// The Gateways whose proxies keep the configuration that they have.
    held: HashSet<ObjectName, ahash::RandomState>,
    pods: Map<Arc<str>, Pod>,
    /// How many captured pods of an identity a node has.
    residents: Map<Arc<str>, Map<SpiffeId, usize>>,
    /// By the uid of a pod: its node, and its `<namespace>/<name>`.
    places: Map<Arc<str>, (Arc<str>, Arc<str>)>,
    /// The pods that Fairway made.
    own_pods: OwnPods,
}

#[derive(Debug)]
struct Pod {
    uid: Arc<str>,
    node: Arc<str>,
    /// None for a pod that is not in the mesh: nobody speaks for it.
    identity: Option<SpiffeId>,
}

// === impl AuthorizationIndex ===

impl Default for AuthorizationIndex {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            filled: watch::Sender::new(false),
            pod_changes: watch::Sender::new(0),
        }
    }
}

impl AuthorizationIndex {
    /// Takes over what compiling changed; the first is everything there is.
    pub fn take(&self, output: &Output) {
        let mut entries = self.entries();
        output.proxies.iter().for_each(|it| entries.add_proxy(it));
        output.retired.iter().for_each(|it| entries.remove_proxy(it));
        for it in &output.upserts {
            if let Resource::Workload(it) = it {
                entries.remove_pod(&ResourceKey { kind: ResourceKind::Workload, name: it.key.as_arc() });
                entries.add_pod(it);
            }
        }
        output.removals.iter().for_each(|it| entries.remove_pod(it));
        drop(entries);
        self.filled.send_replace(true);
    }

    /// Takes over what became of pods, before it is compiled.
    pub fn see(&self, edits: &[Edit]) {
        let changed = self.entries().own_pods.see(edits);
        if changed {
            self.pod_changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Waits until a pod has been seen, for a moment.
    pub async fn wait_for_pod(&self, pod_uid: &str) {
        let mut pod_changes = self.pod_changes.subscribe();
        let is_known = |_: &u64| {
            let entries = self.entries();
            entries.own_pods.knows(pod_uid) || entries.places.contains_key(pod_uid)
        };
        let _ = timeout(POD_WAIT, pod_changes.wait_for(is_known)).await;
    }

    /// News of the pods that Fairway made.
    pub fn pod_changes(&self) -> watch::Receiver<u64> {
        self.pod_changes.subscribe()
    }

    /// Whether a token's pod is a proxy that Fairway made.
    pub fn is_proxy(&self, reviewed: &Reviewed, program: &ProxyProgram) -> Result<(), PodRejection> {
        self.entries().own_pods.is_proxy(reviewed, program)
    }

    /// Whether a token's pod is a tunnel of the DaemonSet of this name.
    pub fn is_tunnel(&self, reviewed: &Reviewed, daemon_set: &Arc<str>) -> Result<(), PodRejection> {
        self.entries().own_pods.is_tunnel(reviewed, daemon_set)
    }

    /// Waits until something has been compiled: before, nobody is anybody.
    pub async fn filled(&self) {
        // It lives as long as its sender, which is in here.
        let _ = self.filled.subscribe().wait_for(|it| *it).await;
    }

    /// The Gateway whose proxy runs as a service account.
    pub fn gateway_of(&self, service_account: &ObjectName) -> Option<ObjectName> {
        self.entries().gateways.get(service_account).cloned()
    }

    /// Whether the proxies of a Gateway keep the configuration that they have.
    pub fn is_held(&self, gateway: &ObjectName) -> bool {
        self.entries().held.contains(gateway)
    }

    /// Whether a captured pod of an identity runs on a node.
    pub fn lives_on(&self, identity: &SpiffeId, node: &str) -> bool {
        self.entries().residents.get(node).is_some_and(|it| it.contains_key(identity))
    }

    /// The node on which a pod runs.
    pub fn node_of(&self, pod_uid: &str) -> Option<Arc<str>> {
        self.entries().places.get(pod_uid).map(|(node, _)| node.clone())
    }

    /// Whether a pod has this `<namespace>/<name>` and runs on this node.
    pub fn is_pod_of(&self, pod_uid: &str, pod: &str, node: &str) -> bool {
        self.entries().places.get(pod_uid).is_some_and(|(at, name)| (&**at, &**name) == (node, pod))
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Entries ===

impl Entries {
    fn add_proxy(&mut self, proxy: &Proxy) {
        self.remove_proxy(&proxy.name);
        let account = ObjectName::new(proxy.name.namespace.clone(), proxy.service_account.clone());
        self.gateways.insert(account.clone(), proxy.name.clone());
        if proxy.want == Want::Hold {
            self.held.insert(proxy.name.clone());
        }
        self.accounts.insert(proxy.name.clone(), account);
    }

    fn remove_proxy(&mut self, gateway: &ObjectName) {
        self.held.remove(gateway);
        if let Some(account) = self.accounts.remove(gateway) {
            self.gateways.remove(&account);
        }
    }

    fn add_pod(&mut self, workload: &Workload) {
        let identity = match workload.mesh {
            Mesh::Captured(_) => Some(workload.identity.clone()),
            Mesh::Outside => None,
        };
        if let Some(identity) = &identity {
            let residents = self.residents.entry(workload.node.clone()).or_default();
            *residents.entry(identity.clone()).or_default() += 1;
        }
        self.places.insert(workload.uid.clone(), (workload.node.clone(), workload.key.as_arc()));
        let pod = Pod { uid: workload.uid.clone(), node: workload.node.clone(), identity };
        self.pods.insert(workload.key.as_arc(), pod);
    }

    fn remove_pod(&mut self, key: &ResourceKey) {
        if key.kind != ResourceKind::Workload {
            return;
        }
        let Some(Pod { uid, node, identity }) = self.pods.remove(&key.name) else { return };
        self.places.remove(&uid);
        let (Some(identity), Some(residents)) = (identity, self.residents.get_mut(&node)) else { return };
        if let Some(count) = residents.get_mut(&identity) {
            *count -= 1;
            if *count == 0 {
                residents.remove(&identity);
            }
        }
        if residents.is_empty() {
            self.residents.remove(&node);
        }
    }
}
