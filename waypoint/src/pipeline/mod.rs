//! The path of a request: head → listener or Service → filters of the listener → route → stages of the rule → backend →
//! stages of the backend → endpoint → response → response stages. [`request::serve`] is that path, in order; `decide` is the part
//! of it that decides, which `/explain` runs as well.

pub(crate) mod access;
mod attempts;
pub(crate) mod authentication;
mod callout;
mod client;
pub(crate) mod decide;
pub mod endpoint;
pub(crate) mod execution;
mod forwarded_certificate;
mod forwarding;
pub(crate) mod guards;
mod head;
pub(crate) mod limits;
mod listener_filters;
mod local_reply;
mod mirror;
#[cfg(test)]
mod order;
mod outgoing;
mod request;
mod response;
mod response_body;
pub(crate) mod sender;
pub(crate) mod stage_chain;
mod target;
#[cfg(test)]
mod tests;
mod translate;
mod treatment;
mod upgrade;

pub use crate::reason::Reason;
pub use client::{Client, Origin, ServiceOrigin, Switch};
pub use forwarded_certificate::forwarded_certificate;
pub use head::strip_response;
pub use request::{Closed, serve};
pub use response_body::ResponseBody;
pub(crate) use target::RouteTarget;
pub use translate::{Translated, translate};
pub use upgrade::Handshake;
