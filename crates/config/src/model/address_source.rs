//! How a proxy learns where a client is.

use super::capability::Capability;
use fairway_policy::CidrSet;
use http::HeaderName;

/// How a listener learns the address of a client. What a peer outside of the trusted ranges says of it is not believed.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AddressSource {
    /// It is the far end of the connection.
    #[default]
    Connection,
    /// Each connection begins with a header of the PROXY protocol. Only these peers may connect.
    ProxyProtocol(CidrSet),
    /// These peers put the address that they have the request from at the end of `X-Forwarded-For`.
    ForwardedFor(CidrSet),
    /// These peers write the address into a header of its own.
    Header {
        /// The header that has it.
        name: HeaderName,
        /// The peers that are believed.
        trusted: CidrSet,
    },
}

// === impl AddressSource ===

impl AddressSource {
    /// Whether a client is where its connection comes from.
    pub fn is_connection(&self) -> bool {
        *self == Self::Connection
    }

    /// What it asks of a proxy. One that does not know it would take the address of a load balancer for that of a client.
    pub(super) fn requires(&self) -> Option<Capability> {
        (!self.is_connection()).then_some(Capability::AddressSource)
    }
}
