//! Where a client is: the far end of its connection, or what a trusted proxy before this one says. PURE.
//!
//! [`proxy_protocol`] reads the header with which such a proxy begins a connection, [`forwarded_for`] the list that it adds
//! to, and [`of_request`] and [`of_connection`] decide, by what the listener is told to believe, where the client of a request or of
//! a connection is.

pub mod forwarded_for;
pub mod proxy_protocol;
mod source;

pub use proxy_protocol::ProxyHeader;
pub use source::{
    AddressError, AddressHeaderNames, AddressHeaders, FarEnd, StreamAddressError, of_connection, of_request,
};
