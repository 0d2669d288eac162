//! Registration of pods over a unix socket. A CNI plugin calls it before the first container of a pod runs.
//!
//! A message is its length (4 bytes, big-endian) followed by JSON of that length. File descriptors travel with the first byte
//! (`SCM_RIGHTS`). Each request gets one reply, except [`Request::TakeOver`] (see [`handoff`](crate::handoff)). The reply to
//! `add` comes when the pod is captured or known to be outside the mesh. On an error the caller must not start the pod.

mod client;
pub(crate) mod frame;
mod server;

pub(crate) use client::unexpected;
pub use client::{Client, RegisterError};
pub use server::Server;

use crate::local_pod::Claim;
use crate::pod_status::{PodState, PodStatus};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// A request to the tunnel. The names in JSON are fixed: tunnels and plugins of neighbouring versions talk to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Capture the pod if it is in the mesh.
    Add {
        /// `metadata.uid` of the Pod.
        uid: String,
        /// `metadata.namespace` of the Pod.
        namespace: String,
        /// `metadata.name` of the Pod.
        name: String,
        /// Absolute path of the pod's network namespace. If a descriptor comes with the message, the path is only for logs.
        netns: PathBuf,
        /// The pod's addresses, if they are known.
        #[serde(default)]
        addresses: Vec<IpAddr>,
        /// What the caller knows about the pod's membership.
        #[serde(default)]
        claim: Claim,
    },
    /// The pod is gone. With a descriptor of a network namespace: only that sandbox of the pod is gone.
    Remove {
        /// `metadata.uid` of the Pod.
        uid: String,
    },
    /// List the registered pods.
    List,
    /// The mesh leaves this node: release every pod.
    Release,
    /// The mesh stays on this node when the pod of this tunnel ends.
    Stay {
        /// `metadata.name` of the tunnel's Pod.
        #[serde(default)]
        pod: String,
    },
    /// The caller is the next tunnel process: hand off the pods and their sockets.
    TakeOver,
    /// The caller of `TakeOver` serves all the pods it has received.
    Serving,
}

/// A reply of the tunnel. The names in JSON are fixed, like those of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The pod may start.
    Added {
        /// Never [`PodState::Waiting`]: the reply comes once the state is known.
        state: PodState,
    },
    /// The pod is no longer registered.
    Removed,
    /// The reply to `list`.
    Pods {
        /// All registered pods, in the order of their uids.
        pods: Vec<PodStatus>,
    },
    /// The rules of every pod are removed.
    Released,
    /// The reply to `stay`.
    Stays,
    /// A captured pod for the next tunnel process. Its network namespace and its three sockets come as descriptors.
    Captured {
        /// `metadata.uid` of the Pod.
        uid: String,
        /// `<namespace>/<name>` of the Pod.
        pod: String,
        /// The addresses from the pod's registration.
        addresses: Vec<IpAddr>,
    },
    /// All captured pods were sent. The registration socket comes as a descriptor.
    Taken,
    /// The request was not carried out. A pod that was to be added must not start.
    Refused {
        /// The reason, for an event or a log.
        reason: String,
    },
}

/// Parses and validates the JSON of one request. The error is the reason of the refusal.
pub fn parse(message: &[u8]) -> Result<Request, String> {
    let request: Request = serde_json::from_slice(message).map_err(|error| error.to_string())?;
    request.validate()?;
    Ok(request)
}

impl Request {
    fn validate(&self) -> Result<(), String> {
        let validate_name = |field: &str, text: &str| match text {
            "" => Err(format!("{field} is empty")),
            _ if text.len() > 253 || text.contains('/') || text.contains(char::is_control) => {
                Err(format!("{field} is not a Kubernetes name"))
            }
            _ => Ok(()),
        };
        match self {
            Self::Add { uid, namespace, name, netns, .. } => {
                validate_name("uid", uid)?;
                validate_name("namespace", namespace)?;
                validate_name("name", name)?;
                match netns.is_absolute() {
                    true => Ok(()),
                    false => Err("netns is not an absolute path".to_owned()),
                }
            }
            Self::Remove { uid } => validate_name("uid", uid),
            Self::List | Self::Release | Self::Stay { .. } | Self::TakeOver | Self::Serving => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Request, parse};

    #[test]
    fn malformed_requests_are_refused_with_a_reason() {
        for message in [
            &b""[..],
            b"{}",
            br#"{"ask":"destroy"}"#,
            br#"{"ask":"add","uid":"","namespace":"shop","name":"web","netns":"/run/netns/a"}"#,
            br#"{"ask":"add","uid":"1","namespace":"shop/x","name":"web","netns":"/run/netns/a"}"#,
            br#"{"ask":"add","uid":"1","namespace":"shop","name":"web","netns":"netns/a"}"#,
            br#"{"ask":"add","uid":"1","namespace":"shop","name":"web","netns":"/n","more":1}"#,
            br#"{"ask":"remove","uid":"a\u0000b"}"#,
        ] {
            assert!(parse(message).is_err(), "{}", String::from_utf8_lossy(message));
        }
        assert_eq!(parse(br#"{"ask":"list"}"#), Ok(Request::List));
    }
}
