//! Network namespaces: entering them, capture rules, original destinations, transparent sockets.
//!
//! Everything that speaks to the kernel about namespaces is here, over netlink of our own: neither `nft` nor `ip` nor a C
//! library is needed, so that an image without a shell and an ordinary user in a user namespace can do the same as root.
//!
//! # Guarantees
//!
//! - Only threads of this crate enter a namespace: the threads of the caller and of its runtime stay where they are.
//! - A socket belongs to the namespace that it was made in, wherever it is used afterwards.
//! - Capture rules are loaded in one transaction: a pod has all of them or what it had before.
//! - The only crate with `unsafe`: five calls without a safe wrapper, all in [`kernel`].
//!
//! # Example
//!
//! ```no_run
//! use fairway_netns::Namespace;
//!
//! // A socket that listens in a pod's network, made and used from outside. It takes CAP_SYS_ADMIN.
//! let pod = Namespace::open("/var/run/netns/cni-0c2f")?;
//! let listener = pod.run_blocking(|| std::net::TcpListener::bind("0.0.0.0:15001"))?;
//! # Ok::<(), fairway_netns::NetnsError>(())
//! ```

mod address;
pub mod capture;
pub mod kernel;
pub mod link;
mod namespace;
mod netlink;
pub mod socket;
pub mod sockets;
mod thread;

pub use address::{IpFamily, Mac, Subnet, SubnetError};
pub use namespace::{Namespace, NamespaceId};
pub use netlink::NetlinkError;
pub use thread::NetnsError;
