//! What the program `fairway` does: shows Fairway, runs it, checks its configuration, explains what becomes of a request.
//!
//! # Purpose
//!
//! [`demo`] plays the whole job on one machine, [`run`] serves a directory of Kubernetes YAML, [`check`] says what is wrong with a
//! directory or a cluster, and [`explain`] says what becomes of one request there. The parts come from the other crates; here they are put together. It is a library so that the end-to-end
//! tests play on the demo's environment.
//!
//! # Guarantees
//!
//! - **One opinion.** A directory is read and compiled by the code that a cluster's controller runs: what [`check`] finds is what
//!   [`run`] logs and what a cluster says in statuses.
//! - **A check changes nothing.** It reads; nothing is started, and no object of a cluster is written.
//! - **A mistake takes nothing down.** While [`run`] serves, a file or object with a mistake leaves its last good state in force.
//! - **A demo leaves nothing behind.** Its pods, interfaces and mounts belong to its process, and it needs no root where the kernel lets
//!   users make namespaces.
//! - **Exit codes.** 0 says that all is well; [`explain`] has codes of its own for what is refused and what fails. 1 says that an expectation of the demo failed, that a check has an error, or that a program
//!   could not start or end as it should.
//!
//! # Example
//!
//! A route that names a Gateway which is not there is an error, also in a directory:
//!
//! ```
//! use clap::Parser;
//! use fairway_cli::check;
//! use std::process::ExitCode;
//!
//! #[derive(Parser)]
//! struct Program {
//!     #[command(flatten)]
//!     check: check::Arguments,
//! }
//!
//! let directory = tempfile::tempdir()?;
//! let route = "
//! apiVersion: gateway.networking.k8s.io/v1
//! kind: HTTPRoute
//! metadata: { name: reviews, namespace: shop }
//! spec: { parentRefs: [{ name: public }] }
//! ";
//! std::fs::write(directory.path().join("route.yaml"), route)?;
//!
//! let program = Program::parse_from(["check".as_ref(), directory.path()]);
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! assert_eq!(runtime.block_on(check::run(program.check))?, ExitCode::FAILURE);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod check;
pub mod demo;
pub mod explain;
pub mod run;
