//! Where something is reached.

use serde::ser::SerializeStruct;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Where something is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A name that DNS knows: some load balancers have nothing else.
    Hostname(Arc<str>),
}

/// How far an address reaches (GEP-5093).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Routability {
    /// As far as the Service of a Gateway's proxy does: nothing is promised.
    #[default]
    Default,
    /// It is a Service's cluster IP.
    Cluster,
    /// Nothing is promised: the value that conformance tests ask for.
    Sentinel,
}

/// An address that a Gateway has, and how far it reaches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssignedAddress {
    /// The address that clients connect to.
    pub address: Address,
    /// How far it reaches.
    pub routability: Routability,
}

// === impl Routability ===

impl Routability {
    /// Those that Fairway can give.
    pub const ALL: [Self; 3] = [Self::Default, Self::Cluster, Self::Sentinel];

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "",
            Self::Cluster => "Cluster",
            Self::Sentinel => "testing.x-k8s.io/sentinel",
        }
    }

    /// The one with this word; none when Fairway cannot give it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

// === impl AssignedAddress ===

impl serde::Serialize for AssignedAddress {
    /// As the status of a Gateway has it: who claims GatewayAddressRoutability says it of every address, also if it is empty.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Address", 3)?;
        out.serialize_field("type", self.address.type_word())?;
        out.serialize_field("value", &self.address.to_string())?;
        out.serialize_field("routability", self.routability.as_str())?;
        out.end()
    }
}

// === impl Address ===

impl Address {
    fn type_word(&self) -> &'static str {
        match self {
            Self::Ip(_) => "IPAddress",
            Self::Hostname(_) => "Hostname",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(it) => it.fmt(f),
            Self::Hostname(it) => it.fmt(f),
        }
    }
}
