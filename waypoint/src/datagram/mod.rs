//! Datagrams: route by listener → backend by weight → endpoint, once for each client; then to and fro on a connected
//! socket of its own.
//!
//! A client is its address and port, and the address it sends to. Each worker has a socket of its own on the listener's
//! port, and the kernel gives one client's datagrams always to the same (SO_REUSEPORT hashes both addresses and ports),
//! so that a client's session is known to one worker only and nothing is shared.

mod admission;
mod serve;
mod session;
mod socket;
mod table;

pub use serve::serve;
