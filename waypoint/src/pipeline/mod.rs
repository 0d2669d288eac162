//! The path of a request: head → listener or Service → route → stages of the rule → backend → stages of the backend →
//! endpoint → response → response stages. [`request::serve`] is that path, in order.

pub(crate) mod access;
mod attempts;
mod callout;
mod client;
pub mod endpoint;
pub(crate) mod forwarding;
pub(crate) mod head;
mod local_reply;
mod mirror;
mod names;
mod outgoing;
mod passage;
mod reason;
mod request;
mod response;
pub(crate) mod sender;
mod target;
#[cfg(test)]
mod tests;
mod translate;
mod upgrade;

pub use client::{Client, Origin, ServiceOrigin, Switch};
pub use head::strip_response;
pub(crate) use names::sift_trailers;
pub use reason::Reason;
pub use request::{Closed, serve};
pub(crate) use target::{RouteTarget, find_target};
pub use translate::{Translated, translate};
pub use upgrade::Handshake;
