//! The stream that brings a proxy its configuration: what is said on it, and the proxy's side of it.
//!
//! The proxy says what it holds, the controller sends the difference and a commit, the proxy puts the whole in force or
//! refuses it whole. `docs/decisions/0002-configuration-stream.md` says why it is so.

mod backoff;
pub mod client;
pub mod disk;
mod fragment;
mod hello;
mod link;
mod replica;

pub use fragment::{MESSAGE_LIMIT, OversizedResource, fragments};
pub use hello::{Proxy, Subscription, UnknownProxy, held_messages};
pub use link::Link;
pub use replica::{BrokenProtocol, CommitResponse, Replica, shorten_reason};
