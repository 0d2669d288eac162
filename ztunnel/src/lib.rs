//! The node tunnel: captures pods and carries their TCP over mTLS.
//!
//! [`decide`] says what is done with a connection, purely; [`proxy`] does it. [`state`] holds the configuration that
//! decisions are made over, [`pod`] captures the pods that are registered here and meant to be in the mesh.
//! [`Ztunnel`] puts it together; [`program`] and `fairway run` only feed it.
#![forbid(unsafe_code)]

pub mod cni;
pub mod decide;
pub mod pod;
pub mod program;
mod proxy;
pub mod register;
mod report;
mod settings;
mod state;
pub mod succession;
mod view;
mod ztunnel;

pub use pod::{Candidate, Claim, FenceStatus, Legacy, Netns, PodError, PodEvent, PodState, PodStatus};
pub use settings::Settings;
pub use state::Applier;
pub use view::{ConnectionView, View};
pub use ztunnel::Ztunnel;
