//! The fields of a Service and its EndpointSlices that decide which endpoints a client may be sent to. The decision itself is
//! in the crate `fairway-balance`.

use super::{BackendKey, Endpoint, Endpoints};
use std::net::IpAddr;
use std::sync::Arc;

/// `internalTrafficPolicy` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InternalTrafficPolicy {
    /// `Cluster`: endpoints on all nodes.
    #[default]
    Cluster,
    /// `Local`: endpoints on the client's node.
    Local,
}

/// `sessionAffinity` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SessionAffinity {
    /// `None`: each request or connection may get another endpoint.
    #[default]
    None,
    /// `ClientIP`: the same client address gets the same endpoint.
    ClientIp,
}

/// An address family. An application may listen on one of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// An address written as IPv4.
    V4,
    /// An IPv6 address, IPv4-mapped ones included.
    V6,
}

/// The topology hints of an endpoint in an EndpointSlice (KEP-2433): the clients that it is meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hints {
    /// `forNodes`: clients on these nodes.
    pub nodes: Vec<Arc<str>>,
    /// `forZones`: clients in these zones.
    pub zones: Vec<Arc<str>>,
}

// === impl Endpoints ===

impl Endpoints {
    /// Endpoints without a internal traffic policy, session affinity, guards or proxies.
    pub fn of_anybody(backend: BackendKey, endpoints: Vec<Endpoint>) -> Self {
        Self {
            backend,
            internal_traffic_policy: InternalTrafficPolicy::Cluster,
            session_affinity: SessionAffinity::None,
            endpoints,
            guards: Vec::new(),
            proxies: Vec::new(),
        }
    }
}

// === impl Family ===

impl Family {
    /// The family of an address.
    pub fn from_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}
