//! Network namespaces: entering them, capture rules, original destinations, transparent sockets.
//!
//! Everything that speaks to the kernel about namespaces is here, over netlink of our own: neither `nft` nor `ip` nor a C
//! library is needed, so that an image without a shell and an ordinary user in a user namespace can do the same as root.
//!
//! The only crate with `unsafe`: four calls without a safe wrapper, all in [`kernel`].

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
