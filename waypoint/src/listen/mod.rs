//! Where clients come in: sockets, TLS, tunnels, and what is spoken on a connection.

pub mod accept;
mod arrival;
mod clients;
pub mod connection;
pub mod detect;
pub mod framing;
pub mod hello;
pub mod pace;
pub mod ports;
mod proxy_header;
mod sni;
pub mod socket;
pub mod tls;
mod tunnel;
pub mod unknown;
pub mod wire;
