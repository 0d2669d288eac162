//! Whom an endpoint is chosen for.

use std::net::IpAddr;
use std::sync::Arc;

/// Whom an endpoint is chosen for, where that matters.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// Its node, as its tunnel has told. Who comes without a tunnel is served as if it were on the proxy's own.
    pub node: Option<Arc<str>>,
}
