//! Where clients come in: accepting, the server name of TLS, tunnels, and what is spoken on a connection.

pub mod accept;
pub mod hello;
mod sni;
pub mod socket;
mod tunnel;
pub mod unknown;
