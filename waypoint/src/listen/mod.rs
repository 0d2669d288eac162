//! Where clients come in: sockets, TLS, tunnels, and what is spoken on a connection.

pub mod accept;
mod clients;
pub mod hello;
pub mod ports;
mod sni;
pub mod socket;
pub mod tls;
mod tunnel;
pub mod unknown;
