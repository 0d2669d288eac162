//! The L7 proxy that every Gateway and every waypoint runs.
//!
//! # Purpose
//!
//! It accepts HTTP/1.1, HTTP/2, gRPC, TLS, TCP and UDP on the listeners of a Gateway, or on behalf of a Service (waypoint), and routes
//! it by HTTPRoute, GRPCRoute, TLSRoute, TCPRoute and UDPRoute. It gets its whole configuration from the controller and knows
//! nothing of Kubernetes.
//!
//! # Guarantees
//!
//! - **Atomic configuration.** A request is served by one immutable configuration. A commit replaces it as a whole or not at all, and no
//!   request fails because of it.
//! - **Fails closed.** A rule or a backend that cannot be built keeps its requests and answers 500. They never fall through to a
//!   wider rule. A backend with a BackendTLSPolicy or an identity never gets plaintext.
//! - **Thread per core.** Each worker has its own listeners, connections and pools. A request stays on the thread that has accepted
//!   it and takes no lock that another thread may hold.
//! - **Bounded.** What a client can make the proxy hold or wait for is limited ([`Limits`], [`Timeouts`]).
//! - **Orderly end.** A drain lets open requests finish and refuses none that was accepted.
//!
//! # Structure
//!
//! [`table`] and [`route`] are the committed configuration, [`stage`] what a rule does to a request, [`address`] where a client is. They are
//! pure. [`authentication`] verifies who clients are, [`limit`] counts requests. [`listen`] accepts,
//! [`serve`] is the HTTP connections of clients, [`pipeline`] carries out one request, [`upstream`] connects to endpoints. [`stream`] and
//! [`datagram`] relay what is not HTTP.
//! [`Waypoint`] puts the parts together; [`program`] is the command line around it.
//!
//! # Example
//!
//! ```
//! use fairway_config::model::ObjectName;
//! use fairway_runtime::drain::{self, Deadlines};
//! use fairway_waypoint::{ProxySettings, Waypoint};
//! use std::time::Duration;
//!
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! let (trigger, watch) = drain::channel();
//! let settings = ProxySettings::new(ObjectName::new("shop", "gateway"));
//! // The applier puts configurations in force; the proxy listens on nothing before the first one.
//! let (waypoint, applier) = Waypoint::start(settings, None, watch)?;
//! assert_eq!(applier.bound().count(), 0);
//!
//! let deadlines = Deadlines { linger: Duration::ZERO, grace: Duration::from_secs(1) };
//! assert!(trigger.drain(deadlines).await, "no connection was cut off");
//! assert!(waypoint.join().await, "no worker has panicked");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod address;
pub mod authentication;
mod body;
mod connection;
mod cookie;
pub mod datagram;
#[cfg(test)]
mod fixtures;
mod header_names;
pub mod host;
pub mod l4;
pub mod limit;
pub mod listen;
pub mod pipeline;
mod ports;
pub mod program;
mod reason;
pub mod route;
pub mod serve;
mod settings;
mod shares;
pub mod stage;
pub mod stream;
pub mod table;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transport;
pub mod upstream;
pub mod view;
mod waypoint;
pub mod wire;
mod worker;

pub use settings::{Limits, ProxySettings, Timeouts};
pub use transport::Transport;
pub use view::View;
pub use waypoint::{Applier, StartError, Waypoint};
