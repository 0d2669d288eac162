//! The bound sockets, and what stands behind each. Planning is pure; binding is done by who carries the plan out.

use super::tls::TlsBase;
use crate::table::{ListenerSet, Socket, Tables};
use fairway_config::model::{Certificate, ListenerProtocol, ResourceKey, ResourceKind};
use fairway_config::{Rejected, Snapshot};
use rustls::ServerConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The place of a bound socket among all; stays the same as long as the socket is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub usize);

/// What stands behind each bound socket.
#[derive(Clone, Debug, Default)]
pub struct Ports(Vec<Option<Port>>);

/// What stands behind a bound socket.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its listeners.
    pub set: Arc<ListenerSet>,
    /// How TLS ends there, if it does.
    pub tls: Option<Arc<ServerConfig>>,
}

/// What to do so that the wanted sockets are the bound ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To bind.
    pub bind: Vec<Socket>,
    /// To close.
    pub close: Vec<(Socket, PortId)>,
}

// === impl Plan ===

impl Plan {
    /// From the sockets that are bound to those that are wanted.
    pub fn new(bound: &BTreeMap<Socket, PortId>, wanted: &BTreeSet<Socket>) -> Self {
        Self {
            bind: wanted.iter().filter(|socket| !bound.contains_key(socket)).copied().collect(),
            close: bound
                .iter()
                .filter(|(socket, _)| !wanted.contains(socket))
                .map(|(s, id)| (*s, *id))
                .collect(),
        }
    }
}

// === impl Ports ===

impl Ports {
    /// What stands behind these sockets in a configuration.
    pub fn new(
        bound: &BTreeMap<Socket, PortId>,
        tables: &Tables,
        snapshot: &Snapshot,
        base: &TlsBase,
    ) -> Result<Self, Vec<Rejected>> {
        let mut ports = Vec::new();
        ports.resize(bound.values().map(|id| id.0 + 1).max().unwrap_or(0), None);
        let mut rejected = Vec::new();
        for (socket, id) in bound {
            let Some(set) = tables.socket(socket) else { continue };
            match tls_of(set, snapshot, base) {
                Ok(tls) => {
                    if let Some(place) = ports.get_mut(id.0) {
                        *place = Some(Port { set: set.clone(), tls });
                    }
                }
                Err(error) => rejected.push(error),
            }
        }
        if rejected.is_empty() { Ok(Self(ports)) } else { Err(rejected) }
    }

    /// What stands behind a socket; none once no listener wants it any more.
    pub fn get(&self, id: PortId) -> Option<&Port> {
        self.0.get(id.0)?.as_ref()
    }

    /// The listeners behind a socket.
    pub fn listeners(&self, id: PortId) -> Option<&ListenerSet> {
        self.get(id).map(|port| &*port.set)
    }
}

fn tls_of(
    set: &Arc<ListenerSet>,
    snapshot: &Snapshot,
    base: &TlsBase,
) -> Result<Option<Arc<ServerConfig>>, Rejected> {
    let mut parts = Vec::new();
    for bound in set.listeners() {
        let listener = &bound.listener;
        let ListenerProtocol::Https(termination) = &listener.protocol else { continue };
        let rejected = |reason: String| Rejected {
            key: ResourceKey::new(ResourceKind::Listener, listener.key.as_arc()),
            reason,
        };
        let certificates: Vec<Arc<Certificate>> = termination
            .certificates
            .iter()
            .map(|key| {
                let found = snapshot.certificates.get(key).cloned();
                found.ok_or_else(|| rejected(format!("certificate {key} is not in the configuration")))
            })
            .collect::<Result<_, _>>()?;
        parts.push((listener.hostname.as_ref(), certificates));
    }
    let Some(bound) = set.listeners().first().filter(|_| !parts.is_empty()) else { return Ok(None) };
    let made = base.server_config(parts.into_iter()).map_err(|error| Rejected {
        key: ResourceKey::new(ResourceKind::Listener, bound.listener.key.as_arc()),
        reason: format!("TLS cannot be set up: {error}"),
    })?;
    Ok(Some(made))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(port: u16) -> Socket {
        Socket { address: None, port }
    }

    #[test]
    fn a_plan_binds_what_is_new_closes_what_is_gone_and_leaves_the_rest() {
        let bound = BTreeMap::from([(socket(80), PortId(0)), (socket(81), PortId(1))]);
        let wanted = BTreeSet::from([socket(81), socket(82)]);
        let plan = Plan::new(&bound, &wanted);
        assert_eq!(plan, Plan { bind: vec![socket(82)], close: vec![(socket(80), PortId(0))] });
        assert_eq!(Plan::new(&bound, &bound.keys().copied().collect()), Plan::default());
    }
}
