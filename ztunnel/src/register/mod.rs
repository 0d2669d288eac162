//! Registering pods over a unix socket: what a CNI plugin calls before a pod's first program runs.
//!
//! Each message is a length (4 bytes, big-endian) and that much JSON; descriptors go along with the first byte. Each request
//! gets one reply, but for [`Ask::TakeOver`] (see [`succession`](crate::succession)). An `add` is answered when capture is in
//! place, so that the caller can start the pod; on an error it must not.

mod client;
pub(crate) mod frame;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use client::unexpected;
pub use client::{Client, RegisterError};
pub use server::{Office, Server, serve};

use crate::pod::{Claim, PodState, PodStatus};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// What a caller asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Capture this pod, if it is in the mesh.
    Add {
        /// The pod's uid.
        uid: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// A path to its network namespace, absolute; where a descriptor of it goes along, only for people.
        netns: PathBuf,
        /// Its addresses, where they are known.
        #[serde(default)]
        addresses: Vec<IpAddr>,
        /// Whether the caller knows that it is in the mesh.
        #[serde(default)]
        claim: Claim,
    },
    /// This pod is gone.
    Remove {
        /// The pod's uid.
        uid: String,
    },
    /// Which pods are registered.
    List,
    /// The mesh leaves this node: let every pod go.
    Release,
    /// The mesh stays on this node, though this pod of a tunnel ends.
    Stay {
        /// The pod's name.
        #[serde(default)]
        pod: String,
    },
    /// The caller is this tunnel's next version: let it have the pods and their sockets.
    TakeOver,
    /// The caller serves what it was shown.
    Serving,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The pod may start.
    Added {
        /// Captured, or not in the mesh.
        state: PodState,
    },
    /// The pod is forgotten.
    Removed,
    /// The registered pods.
    Pods {
        /// In order of their uids.
        pods: Vec<PodStatus>,
    },
    /// No pod is captured any more.
    Released,
    /// So it does.
    Stays,
    /// A captured pod, for the next version: its network namespace and its sockets go along.
    Captured {
        /// The pod's uid.
        uid: String,
        /// `<namespace>/<pod>`
        pod: String,
        /// The addresses it was registered with.
        addresses: Vec<IpAddr>,
    },
    /// There are no more; the socket of registrations goes along.
    Taken,
    /// It was not done; a pod that was to be added must not start.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Reads one message as a server does. For fuzzing.
pub fn parse(message: &[u8]) -> Result<Ask, String> {
    let ask: Ask = serde_json::from_slice(message).map_err(|error| error.to_string())?;
    ask.check()?;
    Ok(ask)
}

impl Ask {
    fn check(&self) -> Result<(), String> {
        let label = |what: &str, text: &str| match text {
            "" => Err(format!("{what} is empty")),
            _ if text.len() > 253 || text.contains('/') || text.contains(char::is_control) => {
                Err(format!("{what} is not a Kubernetes name"))
            }
            _ => Ok(()),
        };
        match self {
            Self::Add { uid, namespace, name, netns, .. } => {
                label("uid", uid)?;
                label("namespace", namespace)?;
                label("name", name)?;
                match netns.is_absolute() {
                    true => Ok(()),
                    false => Err("netns is not an absolute path".to_owned()),
                }
            }
            Self::Remove { uid } => label("uid", uid),
            Self::List | Self::Release | Self::Stay { .. } | Self::TakeOver | Self::Serving => Ok(()),
        }
    }
}
