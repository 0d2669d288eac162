//! Rules bound to Services.

use crate::route::{CompiledRoute, Member, RouteTable};
use ahash::HashMap;
use fairway_config::Snapshot;
use fairway_config::model::{Attachment, Audience, Service, ServiceKey};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// The rules bound to one Service.
#[derive(Clone, Debug, Default)]
pub struct ServiceTable {
    /// Few: the producer, and the namespaces that have consumer routes.
    audiences: Vec<(Audience, AudienceTable)>,
}

/// The rules bound to one Service for one audience.
#[derive(Clone, Debug, Default)]
struct AudienceTable {
    routes: Vec<Arc<CompiledRoute>>,
    /// Ports that a route names.
    ports: Vec<(u16, Arc<RouteTable>)>,
    /// For every port that no route names.
    rest: Option<Arc<RouteTable>>,
}

// === impl ServiceTable ===

impl ServiceTable {
    /// The rules of a port for an audience.
    pub fn routes(&self, port: u16, audience: &Audience) -> Option<&Arc<RouteTable>> {
        let (_, table) = self.audiences.iter().find(|(it, _)| it == audience)?;
        let named = table.ports.iter().find(|(it, _)| *it == port).map(|(_, routes)| routes);
        named.or(table.rest.as_ref())
    }

    /// The rules by audience and port.
    pub(super) fn ports(&self) -> impl Iterator<Item = (&Audience, Option<u16>, &Arc<RouteTable>)> {
        self.audiences.iter().flat_map(|(audience, table)| {
            let named = table.ports.iter().map(|(port, routes)| (Some(*port), routes));
            let rest = table.rest.iter().map(|routes| (None, routes));
            named.chain(rest).map(move |(port, routes)| (audience, port, routes))
        })
    }

    /// The routes that hold for the clients of this audience; empty for an audience without routes.
    pub(super) fn members(&self, audience: &Audience) -> &[Arc<CompiledRoute>] {
        self.audiences.iter().find(|(it, _)| it == audience).map(|(_, it)| &*it.routes).unwrap_or_default()
    }

    /// Replaces the routes of an audience.
    pub(super) fn put(&mut self, service: &ServiceKey, audience: &Audience, routes: Vec<Arc<CompiledRoute>>) {
        self.audiences.retain(|(it, _)| it != audience);
        if !routes.is_empty() {
            self.audiences.push((audience.clone(), AudienceTable::new(service, audience, routes)));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.audiences.is_empty()
    }
}

// === impl AudienceTable ===

impl AudienceTable {
    fn new(service: &ServiceKey, audience: &Audience, routes: Vec<Arc<CompiledRoute>>) -> Self {
        let ports_of = |route: &CompiledRoute| -> BTreeSet<Option<u16>> {
            let attachments = route.route().attachments.iter();
            let ports = attachments.filter_map(|it| match it {
                Attachment::Service { service: s, port, audience: a } if s == service && a == audience => {
                    Some(*port)
                }
                _ => None,
            });
            ports.collect()
        };
        let table = |port: Option<u16>| -> Option<Arc<RouteTable>> {
            let holds = |it: &&Arc<CompiledRoute>| {
                let ports = ports_of(it);
                ports.contains(&None) || ports.contains(&port)
            };
            let member = |it: &Arc<CompiledRoute>| Member { route: it.clone(), original: None };
            let members: Vec<_> = routes.iter().filter(holds).map(member).collect();
            if members.is_empty() {
                return None;
            }
            let mut table = RouteTable::default();
            table.edit(None, |it| members.iter().for_each(|member| it.insert(member)));
            Some(Arc::new(table))
        };
        let named: BTreeSet<u16> = routes.iter().flat_map(|it| ports_of(it)).flatten().collect();
        let ports = named.into_iter().filter_map(|port| Some((port, table(Some(port))?))).collect();
        let rest = table(None);
        Self { ports, rest, routes }
    }
}

/// The Services by their addresses. Of two with one address, which no cluster has, the first by name.
pub(super) fn by_address(snapshot: &Snapshot) -> HashMap<IpAddr, Arc<Service>> {
    let mut addresses: HashMap<IpAddr, Arc<Service>> = HashMap::default();
    for service in snapshot.services.values() {
        for address in &service.addresses {
            let held = addresses.entry(*address).or_insert_with(|| service.clone());
            if service.key < held.key {
                *held = service.clone();
            }
        }
    }
    addresses
}
