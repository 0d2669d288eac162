//! `fairway-cni`: the CNI plugin, which has a pod captured before its first container runs, and the plugin's installer.
//!
//! The plugin ([`plugin`]) is the last in the node's chain. It asks the API server whether the pod is in the mesh. A pod outside the
//! mesh passes, whether a tunnel runs or not. A pod of the mesh gets its network only when the node's tunnel has captured it;
//! otherwise the plugin fails, and kubelet tries again and reports the reason in an Event. The installer ([`install`]) is a
//! container of the tunnel's DaemonSet. It puts the plugin and its configuration ([`conflist`]) on the node and keeps them there.

mod apiserver;
pub mod conflist;
mod credentials;
pub mod install;
mod membership;
pub mod plugin;
mod request;
mod response;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use request::Request;
