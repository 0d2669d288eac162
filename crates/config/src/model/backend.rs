//! A Service's port as a destination: how to speak to it, and where its endpoints are.

use super::capability::that_guards;
use super::reference::{of_authentication, of_authorization, of_backend, of_limits};
use super::{
    AuthenticationKey, AuthorizationKey, BackendKey, BackendSecurity, Capabilities, Hints,
    InternalTrafficPolicy, RateLimitKey, References, Requires, ResourceKey, ResourceKind, ServiceKey,
    SessionAffinity,
};
use fairway_identity::SpiffeId;
use std::borrow::Cow;
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// How a backend is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// `<namespace>/<service>:<port>`, and `/udp` behind it for a UDP port
    pub key: BackendKey,
    /// The Service whose port it is.
    pub service: ServiceKey,
    /// The port of the Service, not the one that its endpoints listen on.
    pub port: u16,
    /// What its endpoints speak.
    pub protocol: AppProtocol,
    /// Whether the connection is TLS.
    pub security: BackendSecurity,
    /// The waypoint through which alone this Service is reached (its label `fairway.dev/waypoint: required`), and the
    /// Service's address to name in the tunnel. Who routes to it goes through there and says "already routed".
    pub via: Option<(BackendKey, SocketAddr)>,
    /// Those that judge what is asked of the Service or routed to it, at the proxy that goes straight to its endpoints. One
    /// that is not in the same snapshot denies.
    pub authorizations: Vec<AuthorizationKey>,
    /// Those that count what is asked of the Service or routed to it, at the same proxy. One that is not in the same snapshot
    /// closes.
    pub limits: Vec<RateLimitKey>,
    /// How whoever asks for the Service, or is routed to it, has to say who it is, at the same proxy. One that is not in the same
    /// snapshot closes.
    pub authentications: Vec<AuthenticationKey>,
}

/// What endpoints speak (KEP-3726 `appProtocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppProtocol {
    /// Not said: HTTP/1.1 for HTTPRoutes, HTTP/2 for GRPCRoutes; as the client speaks where no route says.
    Unspecified,
    /// HTTP/1.1; also `kubernetes.io/ws`, a WebSocket being an upgrade of it.
    Http1,
    /// HTTP/2 with prior knowledge, `kubernetes.io/h2c`.
    Http2,
    /// Bytes that nobody looks into.
    Tcp,
}

/// Where a backend's endpoints are.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoints {
    /// The backend whose endpoints they are.
    pub backend: BackendKey,
    /// Which of them a client may be sent to.
    pub internal_traffic_policy: InternalTrafficPolicy,
    /// Whether a client is sent to the same one again.
    pub session_affinity: SessionAffinity,
    /// All of them, also those that are not ready; those of the Service's own family of addresses first.
    pub endpoints: Vec<Endpoint>,
    /// Which of them are guarded, and for which Services; one entry for each of those.
    pub guards: Vec<Guard>,
    /// Those that are Gateways or waypoints of Fairway. Pods may connect to them; no Gateway or waypoint goes there.
    pub proxies: Vec<SocketAddr>,
}

/// Endpoints behind a Service that is reached through its waypoint only (its label `fairway.dev/waypoint: required`),
/// whichever Service's endpoints they are besides. A proxy goes to a guarded endpoint for what was asked of one of the
/// Services that guard it, or was routed to one of them, and for nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The Service that requires its waypoint.
    pub service: ServiceKey,
    /// The addresses of the endpoints that are guarded.
    pub endpoints: Vec<SocketAddr>,
}

/// One address that takes connections for a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address and port that its program listens on.
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
    /// It may be chosen.
    Ready,
    /// Serving but terminating: only when none is ready (KEP-1669).
    Draining,
    /// It is never chosen.
    Unready,
}

// === impl Endpoints ===

impl Endpoints {
    /// Those that a proxy may go to for what was asked of one of these Services or routed to one of them: all that nobody
    /// guards, those that one of these Services guards, and never another proxy.
    pub fn open_to(&self, services: &[&ServiceKey]) -> Cow<'_, Self> {
        if self.guards.is_empty() && self.proxies.is_empty() {
            return Cow::Borrowed(self);
        }
        let proxies: HashSet<&SocketAddr> = self.proxies.iter().collect();
        let (opened, guarded): (Vec<&Guard>, Vec<&Guard>) =
            self.guards.iter().partition(|it| services.contains(&&it.service));
        let opened: HashSet<&SocketAddr> = opened.into_iter().flat_map(|it| &it.endpoints).collect();
        let guarded: HashSet<&SocketAddr> = guarded.into_iter().flat_map(|it| &it.endpoints).collect();
        let is_open = |it: &&Endpoint| {
            !proxies.contains(&it.address) && (opened.contains(&it.address) || !guarded.contains(&it.address))
        };
        let endpoints = self.endpoints.iter().filter(is_open).cloned().collect();
        Cow::Owned(Self {
            backend: self.backend.clone(),
            endpoints,
            guards: vec![],
            proxies: vec![],
            ..*self
        })
    }
}

// === impl Backend ===

/// The waypoint that a proxy is sent to which cannot judge: nobody is that waypoint, and a proxy never goes around one.
const NO_WAYPOINT: &str = "closed";

impl Requires for Backend {
    fn requires(&self) -> Capabilities {
        that_guards(&self.authentications, &self.authorizations, &self.limits)
    }

    /// Without it the endpoints would be reached as those of a waypoint are, so it stays and leads nowhere.
    fn closed_for(&self, _known: Capabilities) -> Option<Self> {
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.port);
        let via = Some((NO_WAYPOINT.into(), nowhere));
        Some(Self {
            via,
            authorizations: Vec::new(),
            limits: Vec::new(),
            authentications: Vec::new(),
            ..self.clone()
        })
    }
}

impl References for Backend {
    fn references(&self) -> Vec<ResourceKey> {
        let via = self.via.iter().map(|(waypoint, _)| of_backend(ResourceKind::Endpoints, waypoint));
        via.chain(self.authorizations.iter().map(of_authorization))
            .chain(self.limits.iter().map(of_limits))
            .chain(self.authentications.iter().map(of_authentication))
            .collect()
    }
}
