//! The client for which an endpoint is chosen.

use fairway_config::model::ServiceKey;
use std::net::IpAddr;
use std::sync::Arc;

/// What the choice of an endpoint needs to know about the client.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The address of the client, for session affinity.
    pub address: Option<IpAddr>,
    /// The node of the client, as its tunnel has reported it. Without one the client is treated as if it were on the proxy's node.
    pub node: Option<Arc<str>>,
    /// The Service that the client has addressed; `None` at a Gateway. Endpoints that a Service guards are candidates only for
    /// clients that have addressed it.
    pub service: Option<ServiceKey>,
}
