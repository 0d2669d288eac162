//! The compiled configuration: what the controller decides and the proxies carry out.
//!
//! [`model`] has the resources as plain types. [`wire`] turns each into bytes and back. [`Snapshot`] is one committed
//! configuration, immutable and shared. [`stream`] brings it to a proxy: Hello, differences, commits, answers, and the file in
//! which the last good one outlives the program. Neither side of the stream knows the other's crate; this is all they share.
//!
//! # Guarantees
//!
//! - **What exists is valid.** Decoding checks every field: names, expressions, headers, certificates. Proxies check nothing
//!   again. No bytes make decoding panic.
//! - **Nothing is widened.** A field or value that the reader does not know refuses the resource. The one exception is a
//!   condition of an authorization: what is not understood matches nothing in an Allow and everything in a Deny.
//! - **All or nothing.** A commit is in force as a whole or refused as a whole; the snapshot before stays. A refusal names each
//!   resource and the reason, and the controller sends the rest.
//! - **Equal resources have equal bytes.** Both sides compare hashes instead of resources.
//! - **Versions may differ by one.** A proxy names its [`model::Capabilities`]. A rule that it cannot carry out reaches it
//!   closed, never without the stage that guards it.
//! - **Every kind of resource is one row** in the table in `kinds`, one file in [`model`] and one in [`wire`].
//!
//! # Example
//!
//! A change from one snapshot to the next, and a resource on the wire:
//!
//! ```
//! use fairway_config::model::{Authorization, Generation, Resource};
//! use fairway_config::{Delta, Snapshot, wire};
//! use fairway_policy::{Action, Condition, Rule};
//! use std::sync::Arc;
//!
//! let rules = vec![Rule::when(vec![Condition::PortIs(vec![8080])])];
//! let authorization = Resource::Authorization(Arc::new(Authorization::new("shop/web", Action::Allow, rules)));
//!
//! let encoded = wire::encode(&authorization);
//! assert_eq!(wire::decode(encoded.bytes)?, authorization);
//!
//! let delta = Delta { generation: Generation(1), upserts: vec![authorization], removals: vec![] };
//! let (next, changes) = Snapshot::default().apply(delta);
//! assert_eq!(next.authorizations.get("shop/web").map(|it| it.rules.len()), Some(1));
//! assert_eq!(changes.into_iter().collect::<Vec<_>>(), [encoded.key]);
//! # Ok::<(), wire::Invalid>(())
//! ```
#![forbid(unsafe_code)]

mod apply;
#[cfg(feature = "arbitrary")]
pub mod arbitrary;
pub mod capture;
mod kinds;
pub mod model;
pub mod proto;
mod snapshot;
pub mod stream;
pub mod wire;

pub use apply::{Apply, Rejected};
pub use snapshot::{Changes, Delta, Snapshot, Table};
