//! The controller: it reads objects of Kubernetes and of the Gateway API, compiles them into configuration, sends that to the
//! proxies, writes statuses, and issues identities.
//!
//! # Guarantees
//!
//! - **The same objects give the same configuration.** [`compile`] is pure: no clock, no I/O. A change is compiled
//!   incrementally, and the result is equal to compiling everything anew; a property test holds that.
//! - **One bad object does not hold up the others.** It is reported as a [`diagnostic::Diagnostic`] with its field and a
//!   remedy, and the last valid version of the object stays in force.
//! - **One validation.** What a proxy would refuse is refused here, by the same functions, and `fairway check` runs the same
//!   code as a cluster.
//! - **One leader writes.** Every replica compiles; the one that holds the Lease serves proxies, signs, provisions and writes
//!   statuses.
//!
//! # Example
//!
//! A directory of YAML is a source of edits, and so is a cluster. Compiling an edit gives what it changes:
//!
//! ```
//! use fairway_controller::compile::{Compiler, CompileSettings};
//! use fairway_controller::source::{Completion, FileChange, Scan, Standalone};
//!
//! let manifest = "
//! apiVersion: gateway.networking.k8s.io/v1
//! kind: HTTPRoute
//! metadata: { name: reviews, namespace: shop }
//! spec:
//!   parentRefs: [{ name: public }]
//!   rules: [{ backendRefs: [{ name: reviews, port: 9080 }] }]
//! ";
//! let mut scan = Scan::default();
//! let edits = scan.apply([("shop.yaml".into(), FileChange::Text(manifest.to_owned()))]);
//! assert!(scan.problems().is_empty(), "the manifest is valid");
//!
//! let settings = CompileSettings::standalone("cluster.local".parse()?);
//! let mut standalone = Standalone::new(Completion::for_settings(&settings));
//! let mut compiler = Compiler::new(settings);
//! compiler.apply(standalone.complete(edits));
//! let problems: Vec<String> = compiler.problems().map(ToString::to_string).collect();
//! assert_eq!(
//!     problems[0],
//!     "HTTPRoute shop/reviews spec.parentRefs[0]: Gateway shop/public does not exist (create it, or correct the reference)"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod admission;
mod apiserver;
pub mod ca;
mod capture;
pub mod check;
pub mod compile;
pub mod diagnostic;
mod events;
mod leader;
mod metrics;
mod name;
pub mod pipeline;
pub mod program;
mod provision;
pub mod resources;
pub mod serve;
pub mod source;
mod status;
