//! `fairway-cni`: the CNI plugin that has a pod captured before its first program runs, and what installs it.
//!
//! The plugin ([`plugin`]) is the last of the node's chain. It asks the API server whether the pod is in the mesh; if not, it
//! lets it pass, whether Fairway runs or not. If it is, the pod's network is ready only when the node's tunnel has captured
//! it; otherwise kubelet tries again and says in an event why. The installer ([`install`]) is a container of the tunnel's
//! DaemonSet: it puts the plugin on the node, into the configuration ([`conflist`]), and keeps both there.

mod apiserver;
pub mod conflist;
mod credentials;
pub mod install;
mod membership;
mod outcome;
pub mod plugin;
mod request;
#[cfg(test)]
mod tests;

pub use request::Request;
