//! Where something is reached.

use serde::ser::SerializeStruct;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Where something is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// A name that DNS knows: some load balancers have nothing else.
    Hostname(Arc<str>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(it) => it.fmt(f),
            Self::Hostname(it) => it.fmt(f),
        }
    }
}

impl serde::Serialize for Address {
    /// As the status of a Gateway has it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Address", 2)?;
        out.serialize_field(
            "type",
            match self {
                Self::Ip(_) => "IPAddress",
                Self::Hostname(_) => "Hostname",
            },
        )?;
        out.serialize_field("value", &self.to_string())?;
        out.end()
    }
}
