//! One request: head → host → (Service) → route → filters → tries → response.

mod answer;
mod bytes;
mod choose;
mod client;
mod connection;
mod forwarding;
mod head;
mod mirror;
mod outgoing;
mod place;
mod reason;
mod request;
mod tries;

pub use bytes::{Reached, carry, reach, relay, relay_service};
pub use choose::Destination;
pub use client::{Client, Origin, ServiceOrigin, Switch};
pub use connection::serve_http;
pub use reason::Reason;
pub use request::serve;
