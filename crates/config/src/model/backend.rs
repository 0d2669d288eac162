//! A Service's port as a destination: how to speak to it, and where its endpoints are.

use super::{Affinity, BackendKey, BackendSecurity, Hints, Reach, ServiceKey};
use fairway_identity::SpiffeId;
use std::net::SocketAddr;
use std::sync::Arc;

/// How a backend is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// `<namespace>/<service>:<port>`, and `/udp` behind it for a UDP port
    pub key: BackendKey,
    /// The Service.
    pub service: ServiceKey,
    /// The Service's port.
    pub port: u16,
    /// What its endpoints speak.
    pub protocol: AppProtocol,
    /// Whether the connection is TLS.
    pub security: BackendSecurity,
    /// The waypoint through which alone this Service is reached (its label `fairway.dev/waypoint: required`), and the
    /// Service's address to name in the tunnel. Who routes to it goes through there and says "already routed".
    pub via: Option<(BackendKey, SocketAddr)>,
}

/// What endpoints speak (KEP-3726 `appProtocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppProtocol {
    /// Not said: HTTP/1.1 for HTTPRoutes, HTTP/2 for GRPCRoutes; as the client speaks where no route says.
    Unspecified,
    /// HTTP/1.1, `kubernetes.io/ws` included.
    Http1,
    /// HTTP/2 with prior knowledge, `kubernetes.io/h2c`.
    Http2,
    /// Bytes.
    Tcp,
}

/// Where a backend's endpoints are.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoints {
    /// Whose they are.
    pub backend: BackendKey,
    /// Which of them a client may be sent to.
    pub reach: Reach,
    /// Whether a client is sent to the same one again.
    pub affinity: Affinity,
    /// All of them, also those that are not ready; those of the Service's own family of addresses first.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it may be chosen.
    pub state: EndpointState,
    /// Its identity if it is in the mesh: then it is reached through HBONE only, and must prove this identity.
    pub identity: Option<SpiffeId>,
    /// The node it runs on.
    pub node: Option<Arc<str>>,
    /// For whose clients it is rather than for others.
    pub hints: Option<Arc<Hints>>,
}

/// Whether an endpoint may be chosen (EndpointSlice conditions).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointState {
    /// Ready.
    Ready,
    /// Serving but terminating: only when none is ready (KEP-1669).
    Draining,
    /// Not ready.
    Unready,
}
