//! One request: head → host → (Service) → route → filters → tries → response.

mod answer;
mod bytes;
mod choose;
mod client;
mod connection;
mod date;
mod forwarding;
mod head;
pub(crate) mod hops;
mod http2;
mod lingering;
mod mirror;
mod names;
mod outgoing;
mod place;
mod reason;
mod request;
mod response;
mod rewrite;
mod tries;
mod upgrade;

use bytes::relay_tunnel;
pub use bytes::{Reached, carry, reach, relay, relay_service};
pub use choose::Destination;
pub use client::{Client, Origin, ServiceOrigin, Switch};
pub use connection::serve_http;
pub use head::strip_response;
pub use reason::Reason;
pub use request::serve;
pub use rewrite::{Rewritten, rewrite};
pub use upgrade::Handshake;
