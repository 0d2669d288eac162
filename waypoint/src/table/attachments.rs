//! Where changed routes stood and where they stand now, and building only those places anew.

use super::Shared;
use super::services::ServiceTable;
use crate::route::{CompiledRoute, Member, RouteTable};
use ahash::HashSet;
use fairway_config::model::{
    Attachment, Audience, HostnamePattern, ListenerKey, Route, RouteKey, ServiceKey,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A place in the tables and what changes there.
#[derive(Debug, Default)]
pub(super) struct Edits {
    hosts: BTreeMap<(ListenerKey, Option<HostnamePattern>), Edit>,
    services: BTreeMap<(ServiceKey, Audience), Edit>,
}

/// Routes that come and go in one place. A route that stays in place goes as it was and comes as it is.
#[derive(Debug, Default)]
struct Edit {
    gone: Vec<Arc<CompiledRoute>>,
    come: Vec<Arc<CompiledRoute>>,
}

// === impl Edits ===

impl Edits {
    /// Notes that a route was replaced.
    pub fn replace(&mut self, old: Option<&Arc<CompiledRoute>>, new: Option<&Arc<CompiledRoute>>) {
        if let Some(old) = old {
            self.visit(old.route(), |it| it.gone.push(old.clone()));
        }
        if let Some(new) = new {
            self.visit(new.route(), |it| it.come.push(new.clone()));
        }
    }

    /// Calls with the edit of every place of a route, once for each.
    fn visit(&mut self, route: &Route, mut edit: impl FnMut(&mut Edit)) {
        let mut hosts: Vec<_> = route.attachments.iter().flat_map(hosts_of).collect();
        hosts.sort_unstable();
        hosts.dedup();
        for (listener, host) in hosts {
            edit(self.hosts.entry((listener.clone(), host.cloned())).or_default());
        }
        let mut services: Vec<_> = route.attachments.iter().filter_map(service_of).collect();
        services.sort_unstable();
        services.dedup();
        for (service, audience) in services {
            edit(self.services.entry((service.clone(), audience.clone())).or_default());
        }
    }

    /// Changes the hosts that are touched; whether there were any.
    pub fn apply_to_listeners(&self, tables: &mut Shared<ListenerKey, Arc<RouteTable>>) -> bool {
        if self.hosts.is_empty() {
            return false;
        }
        let tables = Arc::make_mut(tables);
        for ((listener, host), edit) in &self.hosts {
            let table = Arc::make_mut(tables.entry(listener.clone()).or_default());
            let host = host.as_ref();
            let member = |route: &Arc<CompiledRoute>| Member {
                original: original(route.route(), listener, host),
                route: route.clone(),
            };
            table.edit(host, |table| {
                edit.gone.iter().for_each(|it| table.remove(&member(it)));
                edit.come.iter().for_each(|it| table.insert(&member(it)));
            });
            if table.is_empty() {
                tables.remove(listener);
            }
        }
        true
    }

    /// Rebuilds the Services that are touched.
    pub fn apply_to_services(&self, tables: &mut Shared<ServiceKey, Arc<ServiceTable>>) {
        if self.services.is_empty() {
            return;
        }
        let tables = Arc::make_mut(tables);
        for ((service, audience), edit) in &self.services {
            let table = Arc::make_mut(tables.entry(service.clone()).or_default());
            let routes = edit.applied_to(table.members(audience));
            table.put(service, audience, routes);
            if table.is_empty() {
                tables.remove(service);
            }
        }
    }
}

// === impl Edit ===

impl Edit {
    fn applied_to(&self, before: &[Arc<CompiledRoute>]) -> Vec<Arc<CompiledRoute>> {
        let gone: HashSet<&RouteKey> = self.gone.iter().map(|it| &it.route().key).collect();
        let stays = |it: &&Arc<CompiledRoute>| !gone.contains(&it.route().key);
        before.iter().filter(stays).chain(&self.come).cloned().collect()
    }
}

/// The places of an attachment to a listener; a route without hostnames stands under every host of the listener.
fn hosts_of(attachment: &Attachment) -> Vec<(&ListenerKey, Option<&HostnamePattern>)> {
    match attachment {
        Attachment::Listener { listener, hostnames } if hostnames.is_empty() => vec![(listener, None)],
        Attachment::Listener { listener, hostnames } => {
            hostnames.iter().map(|it| (listener, Some(&it.effective))).collect()
        }
        Attachment::Service { .. } => vec![],
    }
}

fn service_of(attachment: &Attachment) -> Option<(&ServiceKey, &Audience)> {
    match attachment {
        Attachment::Service { service, audience, .. } => Some((service, audience)),
        Attachment::Listener { .. } => None,
    }
}

/// The most specific hostname of a route's own that leads to this host.
fn original(
    route: &Route,
    listener: &ListenerKey,
    host: Option<&HostnamePattern>,
) -> Option<HostnamePattern> {
    let hostnames = route.attachments.iter().filter_map(|it| match it {
        Attachment::Listener { listener: l, hostnames } if l == listener => Some(hostnames),
        _ => None,
    });
    let here = hostnames.flatten().filter(|it| Some(&it.effective) == host).map(|it| &it.original);
    here.max_by_key(|it| it.specificity()).cloned()
}
