//! Where clients come in: accepting, the server name of TLS, tunnels, and what is spoken on a connection.

pub mod accept;
mod arrival;
pub mod hello;
mod proxy_header;
mod sni;
pub mod socket;
pub(crate) mod tunnel;
pub mod unknown;
