//! A pod: who it is, and whether its traffic is captured.

use super::{AuthorizationKey, Probe, References, Requires, ResourceKey, ResourceKind, WorkloadKey};
use fairway_identity::SpiffeId;
use std::net::IpAddr;
use std::sync::Arc;

/// The label that puts a namespace in the mesh (`enabled`), or takes a pod out of its namespace's (`disabled`).
pub const MESH_LABEL: &str = "fairway.dev/mesh";

/// The label or annotation of a namespace or a pod that says whether plaintext is let in (`strict`, `permissive`).
pub const MUTUAL_TLS_LABEL: &str = "fairway.dev/mtls";

/// A pod of the cluster, in the mesh or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// `<namespace>/<pod>`; a later pod of that name has the same.
    pub key: WorkloadKey,
    /// The uid of the pod: a pod that comes after it under its name has another one.
    pub uid: Arc<str>,
    /// Of a static pod the uid that it has on its node: that of the API server is another one. Whoever writes a pod's annotations can
    /// write any, so it proves nothing.
    pub node_uid: Option<Arc<str>>,
    /// Its addresses; none before it has been given any.
    pub addresses: Vec<IpAddr>,
    /// The identity of its service account, which it proves in the mesh.
    pub identity: SpiffeId,
    /// The node it runs on.
    pub node: Arc<str>,
    /// Whether it is in the mesh.
    pub mesh: Mesh,
    /// Why it is not captured though its namespace is in the mesh.
    pub aside: Option<CaptureExemption>,
    /// What its node's kubelet asks of it, without a tunnel.
    pub probes: Vec<Probe>,
    /// Every one that applies to it. One that is not in the same snapshot denies (fail closed).
    pub authorizations: Vec<AuthorizationKey>,
}

/// A pod's part in the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mesh {
    /// Not captured; reached in plain TCP.
    Outside,
    /// Captured; reached through HBONE.
    Captured(MutualTls),
}

/// Why a pod of a namespace in the mesh is not captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaptureExemption {
    /// It has the node's network, and capturing that would cut the node off.
    HostNetwork,
    /// Its own label takes it out.
    OptedOut,
    /// It is a proxy of ours, which speaks for itself.
    Proxy,
}

/// Whether a captured pod is served plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MutualTls {
    /// Plaintext from outside the mesh is let in.
    Permissive,
    /// Only mTLS is let in.
    Strict,
}

// === impl Workload ===

impl Requires for Workload {}

impl References for Workload {
    fn references(&self) -> Vec<ResourceKey> {
        let named = self.authorizations.iter();
        named.map(|it| ResourceKey::new(ResourceKind::Authorization, it.as_arc())).collect()
    }
}
