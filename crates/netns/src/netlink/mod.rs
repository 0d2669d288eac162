//! Netlink, as much of it as capture and links need: requests, batches and dumps, with the kernel's own words on failure.
//!
//! The kernel does what a message asks before `send` returns, so everything here is over at once and nothing waits.

mod attribute;
mod connection;
mod message;

pub(crate) use attribute::{Attribute, attributes, covers};
pub(crate) use connection::{Connection, Family};
pub(crate) use message::{Message, Reply, flags};

use std::io;

/// Why the kernel did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket does not open, send or receive.
    #[error("netlink: {0}")]
    Socket(#[from] io::Error),
    /// The kernel answered a request with an error.
    #[error("cannot {what}: {source}{}", .detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default())]
    Refused {
        /// What was asked of it.
        what: String,
        /// The kernel's error number.
        source: io::Error,
        /// Its explanation (extended acknowledgement), where it gives one.
        detail: Option<String>,
    },
    /// The answer is not netlink as we know it.
    #[error("the kernel's answer cannot be read: {0}")]
    Garbled(&'static str),
}

impl NetlinkError {
    /// The kernel's error number, if it is one.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Socket(source) | Self::Refused { source, .. } => source.raw_os_error(),
            Self::Garbled(_) => None,
        }
    }
}

/// Ok instead of the errors that mean "it is so already".
pub(crate) fn unless<T: Default>(
    result: Result<T, NetlinkError>,
    harmless: &[i32],
) -> Result<T, NetlinkError> {
    match result {
        Err(error) if error.errno().is_some_and(|errno| harmless.contains(&errno)) => Ok(T::default()),
        other => other,
    }
}
