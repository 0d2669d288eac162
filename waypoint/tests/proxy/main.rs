//! A whole proxy on loopback or in memory, with the endpoints that it is told of. One file for each story; one program for all of them,
//! because each program more is linked with everything that a proxy is made of.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

mod backend_floods;
mod backend_tls;
mod bodies;
mod byte_loops;
mod change;
mod client_addresses;
mod clients;
mod closed;
mod connection_limits;
mod datagrams;
mod fairness;
mod health;
mod keepalive;
mod limits;
mod loops;
mod mesh;
mod names;
mod observability;
mod refusals;
mod requests;
mod responses;
mod smuggling;
mod sockets;
mod streams;
mod support;
mod tls;
mod trace_context;
mod trailers;
mod tries;
mod undecidable;
mod unprocessed;
mod upgrades;
mod versions;
