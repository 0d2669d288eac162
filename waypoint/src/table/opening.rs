//! How connections to a socket begin, before TLS and before anything that its listeners are about.

use super::listeners::BoundListener;
use fairway_config::model::AddressSource;
use fairway_policy::CidrSet;
use std::net::IpAddr;
use std::sync::Arc;

/// How the connections to a socket begin.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Opening {
    /// With what the client says.
    #[default]
    Plain,
    /// With a header of the PROXY protocol, and from these peers only.
    Proxied(CidrSet),
    /// Not at all: nobody can say where clients are.
    Closed,
}

/// Two listeners of one socket begin their connections in different ways.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpeningsDiffer<'a>(pub &'a Arc<BoundListener>);

impl Opening {
    /// How those to a socket of these listeners begin. Listeners that are closed have no say as long as there are others.
    pub(super) fn of(listeners: &[Arc<BoundListener>]) -> Result<Self, OpeningsDiffer<'_>> {
        if listeners.iter().all(|it| it.listener.closed.is_some()) {
            return Ok(Self::Plain);
        }
        let mut opening = Self::Closed;
        for bound in listeners.iter().filter(|it| it.listener.closed.is_none()) {
            let its = match &bound.listener.address_source {
                AddressSource::Closed(_) => continue,
                AddressSource::ProxyProtocol(trusted) => Self::Proxied(trusted.clone()),
                _ => Self::Plain,
            };
            match opening {
                Self::Closed => opening = its,
                _ if opening == its => {}
                _ => return Err(OpeningsDiffer(bound)),
            }
        }
        Ok(opening)
    }

    /// Whether a peer may connect at all.
    pub fn admits(&self, peer: IpAddr) -> bool {
        match self {
            Self::Plain => true,
            Self::Proxied(trusted) => trusted.contains(peer),
            Self::Closed => false,
        }
    }
}
