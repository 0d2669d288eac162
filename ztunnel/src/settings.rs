//! What a tunnel is told when it starts.

use fairway_config::model::Locality;
use fairway_hbone::{client, server};
use fairway_netns::Namespace;
use fairway_netns::capture::CaptureRules;
use fairway_runtime::drain::Deadlines;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// What a tunnel is told when it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of its node; only pods of this node can be registered.
    pub node: Arc<str>,
    /// The zone of that.
    pub zone: Option<String>,
    /// Threads that carry traffic.
    pub workers: NonZeroUsize,
    /// How long each phase of its end may last.
    pub deadlines: Deadlines,
    /// How long a connection waits for its pod's identity; then it is refused.
    pub identity_wait: Duration,
    /// How long a pod's program may take to accept a connection.
    pub program_wait: Duration,
    /// How long a connection waits for the tunnel of the far end's node: it may be starting again, or the pod be just
    /// joining the mesh.
    pub peer_wait: Duration,
    /// How long the registration of a pod waits for the configuration to say what it is.
    pub registration_wait: Duration,
    /// How long the word of whoever registers a pod counts for more than a configuration that says otherwise: the longest
    /// that one may lag behind.
    pub claim_counts: Duration,
    /// How often the rules in a pod are looked at.
    pub inspect_every: Duration,
    /// How long a pod that left the mesh is still to be reached through the tunnel: by those who have not heard of it.
    pub release_not_before: Duration,
    /// How long the connections of a pod that left the mesh may go on through the tunnel.
    pub release_after: Duration,
    /// The node's own network namespace: never captured, and whence kubelet's probes come.
    pub node_namespace: Option<Namespace>,
    /// Sockets that are accepted for one pod at a time; never more than a quarter of the open files there may be.
    pub pod_sockets: usize,
    /// Handshakes of peers that are under way at one pod, on one thread; the oldest gives way to a new one.
    pub pod_handshakes: usize,
    /// Limits of tunnels that are opened.
    pub client: client::Settings,
    /// Limits of tunnels that are accepted.
    pub server: server::Settings,
}

impl Settings {
    /// What fits most nodes.
    pub fn new(node: impl Into<Arc<str>>) -> Self {
        Self {
            node: node.into(),
            zone: None,
            workers: fairway_runtime::workers::default_count(),
            deadlines: Deadlines { linger: Duration::from_secs(2), grace: Duration::from_secs(25) },
            identity_wait: Duration::from_secs(5),
            program_wait: Duration::from_secs(5),
            peer_wait: Duration::from_secs(5),
            registration_wait: Duration::from_secs(5),
            claim_counts: Duration::from_secs(15),
            inspect_every: Duration::from_secs(3),
            release_not_before: Duration::from_secs(5),
            release_after: Duration::from_secs(60),
            node_namespace: None,
            pod_sockets: 16 * 1024,
            pod_handshakes: 128,
            client: client::Settings::default(),
            server: server::Settings::default(),
        }
    }

    /// Where its pods are.
    pub(crate) fn locality(&self) -> Locality {
        Locality::new(Some(self.node.to_string()), self.zone.clone())
    }

    /// Whether a namespace is the node's, and not a pod's.
    pub(crate) fn is_the_nodes(&self, namespace: &Namespace) -> bool {
        self.node_namespace.as_ref() == Some(namespace)
    }

    /// The numbers the rules in a pod are made of.
    pub(crate) fn rules(&self) -> CaptureRules {
        CaptureRules::default()
    }
}
