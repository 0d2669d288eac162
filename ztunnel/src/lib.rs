//! The node tunnel: captures the TCP connections of a node's pods and carries them over mTLS.
//!
//! # Purpose
//!
//! One tunnel runs on each node. It opens listeners inside the network namespace of every captured pod, so that the pods need
//! no sidecar. Outbound connections go through an HBONE tunnel (HTTP/2 CONNECT over mTLS, port 15008) with the identity of the
//! pod. Inbound tunnels are authenticated and authorized before the application sees a connection.
//!
//! # Guarantees
//!
//! - **No bypass.** A connection to a captured strict pod, or to a Service that requires its waypoint, is carried over mTLS or
//!   refused. It never falls back to plaintext because something is missing.
//! - **One configuration for each decision.** A connection is decided over one immutable [`decide::Index`]. Commits replace the
//!   index as a whole.
//! - **Per-pod identity.** A tunnel presents the certificate of the pod whose connection it carries, never its own.
//! - **Isolation.** Sockets, handshakes and receive windows are limited for each pod ([`TunnelSettings`]).
//! - **No lost connection on upgrade.** A new process takes over the listening sockets of the running one ([`handoff`]).
//!
//! # Structure
//!
//! [`decide`] says what to do with a connection. It is pure. `proxy` does it with sockets, `pod` captures the registered pods,
//! [`registration`] is the socket at which the CNI plugin ([`cni`]) registers them. [`Ztunnel`] puts the parts together;
//! [`program`] is the command line around it.
//!
//! # Example
//!
//! A connection to an address that the configuration does not know goes to its original destination unchanged:
//!
//! ```
//! use fairway_balance::Locality;
//! use fairway_config::model::{Mesh, MutualTls, Resource, Workload};
//! use fairway_config::{Delta, Snapshot};
//! use fairway_ztunnel::decide::{Index, Outbound, outbound};
//! use std::sync::Arc;
//!
//! let pod = Workload {
//!     key: "shop/web".into(),
//!     uid: "1234".into(),
//!     addresses: vec!["10.0.0.1".parse()?],
//!     identity: "spiffe://cluster.local/ns/shop/sa/web".parse()?,
//!     node: "node-1".into(),
//!     node_uid: None,
//!     mesh: Mesh::Captured(MutualTls::Strict),
//!     aside: None,
//!     probes: vec![],
//!     authorizations: vec![],
//! };
//! let upserts = vec![Resource::Workload(Arc::new(pod))];
//! let (snapshot, _changes) = Snapshot::default().apply(Delta { upserts, ..Delta::default() });
//! let index = Index::build(Locality::default(), &snapshot);
//!
//! let client = index.workload(&"shop/web".into()).ok_or("the pod is in the snapshot")?;
//! assert_eq!(outbound(&index, client, "203.0.113.7:443".parse()?), Outbound::Passthrough);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod cni;
pub mod decide;
pub mod handoff;
mod local_pod;
pub mod ownership;
pub mod pod;
mod pod_status;
pub mod program;
mod proxy;
pub mod registrar;
pub mod registration;
mod report;
mod settings;
mod state;
mod view;
mod ztunnel;

pub use pod::{Candidate, Claim, Leftovers, Netns, PodError, PodEvent, PodHandoff};
pub use pod_status::{FenceStatus, PodState, PodStatus};
pub use settings::TunnelSettings;
pub use state::Applier;
pub use view::{ConnectionView, View};
pub use ztunnel::Ztunnel;
