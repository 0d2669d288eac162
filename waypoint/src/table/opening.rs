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
}

/// Two listeners of one socket begin their connections in different ways.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpeningsDiffer<'a>(pub &'a Arc<BoundListener>, pub &'a Arc<BoundListener>);

impl Opening {
    /// How those to a socket of these listeners begin. Listeners that are closed have no say.
    pub(super) fn of(listeners: &[Arc<BoundListener>]) -> Result<Self, OpeningsDiffer<'_>> {
        let mut opening: Option<(Self, &Arc<BoundListener>)> = None;
        for bound in listeners.iter().filter(|it| it.listener.closed.is_none()) {
            let its = match &bound.listener.address_source {
                AddressSource::ProxyProtocol(trusted) => Self::Proxied(trusted.clone()),
                AddressSource::Connection | AddressSource::ForwardedFor(_) | AddressSource::Header { .. } => {
                    Self::Plain
                }
            };
            let (first, by) = opening.get_or_insert_with(|| (its.clone(), bound));
            if *first != its {
                return Err(OpeningsDiffer(by, bound));
            }
        }
        Ok(opening.map(|(opening, _)| opening).unwrap_or_default())
    }

    /// Whether a peer may connect at all.
    pub fn admits(&self, peer: IpAddr) -> bool {
        match self {
            Self::Plain => true,
            Self::Proxied(trusted) => trusted.contains(peer),
        }
    }
}
