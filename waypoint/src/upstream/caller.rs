//! Whom an endpoint is chosen for.

use fairway_config::model::ServiceKey;
use std::net::IpAddr;
use std::sync::Arc;

/// Whom an endpoint is chosen for, where that matters.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// Its node, as its tunnel has told. Who comes without a tunnel is served as if it were on the proxy's own.
    pub node: Option<Arc<str>>,
    /// The Service it has asked for; none at a Gateway. What a Service guards is open to who asked for it.
    pub service: Option<ServiceKey>,
}
