//! Authorization: who may connect to what, and who may ask for what.
//!
//! The crate has conditions on the attributes of a connection or request ([`Condition`], [`Attributes`]), authorizations that
//! are made of them ([`Authorization`]), and the one function that merges all that apply and decides ([`evaluate`]). It is
//! pure: it opens nothing, waits for nothing and knows no clock. The controller compiles policies to it, the tunnel and the
//! L7 proxy decide by it, and the command line explains by it, so that all four agree.
//!
//! # Guarantees
//!
//! - **All levels must allow.** Authorizations of a Gateway, a route, a Service and a pod add up. At each [`Level`] that has an
//!   Allow one of them has to match; none of them opens what another level closes.
//! - **Deny over Allow.** A Deny that matches refuses, whatever an Allow says.
//! - **It fails closed.** A condition that is not understood, or that looks at an attribute the caller does not know, matches
//!   nothing in an Allow and everything in a Deny. An authorization that a target names and nobody knows refuses.
//! - **An empty list is not an absent one.** A condition with no value never holds; only a condition that is not there is no
//!   condition. A rule without conditions always matches, an authorization without rules never does.
//! - **One resource, one verdict.** Paths are compared as they are written and as lenient servers read them: a Deny matches
//!   one of the readings, an Allow all. IPv4-mapped addresses are IPv4 addresses. Hosts are compared without case, port and root dot.
//! - **It says who decided.** A verdict names the policy and the rule ([`Decider`], [`PolicyRefusal`]).
//!
//! A verdict allocates nothing but for a refusal's two reference counts, for paths with `%`, `;` or `//`, and for headers that
//! stand more than once. An address is found among 10,000 ranges by one binary search. `cargo bench -p fairway-policy` measures.
//!
//! # Example
//!
//! ```
//! use fairway_policy::{Action, Attached, Attributes, Authorization, Condition, Level, Rule, evaluate};
//!
//! let shop: fairway_identity::SpiffeId = "spiffe://cluster.local/ns/shop/sa/web".parse()?;
//! let other: fairway_identity::SpiffeId = "spiffe://cluster.local/ns/other/sa/web".parse()?;
//! let only_the_shop = Authorization::new(
//!     "payments/only-the-shop",
//!     Action::Allow,
//!     vec![Rule::when(vec![Condition::PeerIs(vec![shop.clone()]), Condition::PortIs(vec![8443])])],
//! );
//! let attached = || {
//!     let authorization = Some(&only_the_shop);
//!     [Attached { level: Level::Pod, name: &only_the_shop.name, authorization }]
//! };
//!
//! // What the tunnel of the pod's node knows of a connection: no request.
//! let from = |peer| Attributes { peer, client: None, port: 8443, request: None };
//! assert!(evaluate(attached(), &from(Some(&shop))).verdict.is_allowed());
//! let refusal = evaluate(attached(), &from(Some(&other))).verdict.into_result().unwrap_err();
//! assert_eq!(&**refusal.policy(), "payments/only-the-shop");
//! # Ok::<(), fairway_identity::InvalidSpiffeId>(())
//! ```
#![forbid(unsafe_code)]

mod address;
mod attributes;
mod authorization;
mod condition;
mod evaluation;
pub mod matching;
mod path;
#[cfg(test)]
mod tests;

pub use address::{Cidr, CidrSet, InvalidCidr};
pub use attributes::{AttributeName, Attributes, Request};
pub use authorization::{Action, Authorization, Mode, Rule};
pub use condition::Condition;
pub use evaluation::{Attached, Decider, Decision, Level, PolicyRefusal, RuleName, Verdict, evaluate};
pub use matching::{
    GrpcMethodMatch, HeaderMatch, HostnamePattern, InvalidHostname, InvalidPattern, PathMatch, Pattern,
    ValueMatch,
};
pub use path::{Path, PathCondition};

pub use fairway_identity::{SpiffeId, TrustDomain};
