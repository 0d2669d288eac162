//! The path of a request: head → listener or Service → route → stages of the rule → backend → stages of the backend →
//! endpoint → response → response stages. [`request::serve`] is that path, in order.

mod attempts;
mod client;
pub mod endpoint;
mod forwarding;
mod head;
mod local_reply;
mod mirror;
mod names;
mod outgoing;
mod reason;
mod request;
mod response;
mod target;
mod translate;
mod upgrade;

pub use client::{Client, Origin, ServiceOrigin, Switch};
pub use reason::Reason;
pub use request::serve;
pub use translate::{Translated, translate};
