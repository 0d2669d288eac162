//! The settings of a tunnel.

use fairway_balance::Locality;
use fairway_hbone::{client, server};
use fairway_netns::Namespace;
use fairway_netns::capture::CaptureRules;
use fairway_runtime::drain::Deadlines;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// The settings of a tunnel. They do not change while it runs.
#[derive(Clone, Debug)]
pub struct TunnelSettings {
    /// The name of the node, as its Node object has it. Only pods of this node can be registered.
    pub node: Arc<str>,
    /// The node's label `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
    /// Number of threads that carry traffic.
    pub workers: NonZeroUsize,
    /// How long each phase of a drain may last.
    pub deadlines: Deadlines,
    /// How long a connection waits for its pod's certificate, or for the configuration to know the pod. Then it is refused.
    pub identity_timeout: Duration,
    /// How long the application in a pod may take to accept a connection.
    pub program_timeout: Duration,
    /// How long a connection waits for the tunnel of the peer's node, which may be restarting or about to capture the peer.
    pub peer_timeout: Duration,
    /// How long a registration waits for the configuration to know the pod. Then it fails.
    pub registration_timeout: Duration,
    /// How long [`Claim::Meshed`](crate::Claim::Meshed) overrides the configuration: the longest that a configuration may lag
    /// behind the API server.
    pub claim_validity: Duration,
    /// Interval between inspections of the rules in each pod.
    pub rule_check_interval: Duration,
    /// How long a pod that has left the mesh still accepts connections through the tunnel, from peers with an older
    /// configuration.
    pub release_linger: Duration,
    /// How long open connections of a pod that has left the mesh may go on through the tunnel.
    pub release_timeout: Duration,
    /// The node's own network namespace: it is never captured, and kubelet's probes come from it. Without it, probes are treated
    /// like any other plaintext.
    pub node_namespace: Option<Namespace>,
    /// Accepted sockets that one pod may have at a time. A quarter of the limit of open files is a further bound.
    pub max_pod_sockets: usize,
    /// TLS handshakes that may be in progress at one pod, on one worker. A further one aborts the oldest.
    pub max_pod_handshakes: usize,
    /// Series that metrics keep apart; what is beyond them counts as `other`.
    pub series: usize,
    /// Limits and timeouts of HBONE connections that this tunnel opens.
    pub client: client::Settings,
    /// Limits and timeouts of HBONE connections that this tunnel accepts.
    pub server: server::Settings,
}

impl TunnelSettings {
    /// The defaults, for the node of this name.
    pub fn new(node: impl Into<Arc<str>>) -> Self {
        Self {
            node: node.into(),
            zone: None,
            workers: fairway_runtime::workers::default_count(),
            deadlines: Deadlines { linger: Duration::from_secs(2), grace: Duration::from_secs(25) },
            identity_timeout: Duration::from_secs(5),
            program_timeout: Duration::from_secs(5),
            peer_timeout: Duration::from_secs(5),
            registration_timeout: Duration::from_secs(5),
            claim_validity: Duration::from_secs(15),
            rule_check_interval: Duration::from_secs(3),
            release_linger: Duration::from_secs(5),
            release_timeout: Duration::from_secs(60),
            node_namespace: None,
            series: fairway_telemetry::DEFAULT_SERIES,
            max_pod_sockets: 16 * 1024,
            max_pod_handshakes: 128,
            client: client::Settings::default(),
            server: server::Settings::default(),
        }
    }

    /// The locality of the node's pods.
    pub(crate) fn locality(&self) -> Locality {
        Locality::new(Some(self.node.to_string()), self.zone.clone())
    }

    /// Whether `namespace` is the node's own.
    pub(crate) fn is_node_namespace(&self, namespace: &Namespace) -> bool {
        self.node_namespace.as_ref() == Some(namespace)
    }

    /// The ports and marks of the capture rules.
    pub(crate) fn capture_rules(&self) -> CaptureRules {
        CaptureRules::default()
    }
}
