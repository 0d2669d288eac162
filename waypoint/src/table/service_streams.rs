//! Routes for bytes, by Service: of those that want the connections to one port, the one that gets them.

use super::Shared;
use super::streams::CompiledL4Route;
use ahash::HashMap;
use fairway_config::model::{Attachment, Audience, RouteKey, ServiceKey};
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// The ports of one Service for one audience, and the route that carries the connections to each; no port is every other.
type Ports = Vec<(Option<u16>, Arc<CompiledL4Route>)>;

/// Routes for bytes, by Service.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceStreams {
    places: HashMap<(ServiceKey, Audience), Ports>,
}

// === impl ServiceStreams ===

impl ServiceStreams {
    /// Finds the places of all routes. Hostnames mean nothing here (GEP-1294).
    pub fn build(routes: &Shared<RouteKey, Arc<CompiledL4Route>>) -> Self {
        let mut places: HashMap<(ServiceKey, Audience), Ports> = HashMap::default();
        let mut ordered: Vec<_> = routes.values().filter(|it| is_of_service(it)).collect();
        // A TLSRoute goes before a TCPRoute; of one kind the older, then the first by name. The controller sees to it too.
        ordered.sort_by_cached_key(|it| {
            let route = it.route();
            (route.kind, route.created, route.object.to_string(), route.key.clone())
        });
        for route in ordered {
            for attachment in &route.route().attachments {
                let Attachment::Service { service, port, audience } = attachment else { continue };
                let ports = match places.entry((service.clone(), audience.clone())) {
                    Entry::Occupied(it) => it.into_mut(),
                    Entry::Vacant(it) => it.insert(Ports::new()),
                };
                if !ports.iter().any(|(it, _)| it == port) {
                    ports.push((*port, route.clone()));
                }
            }
        }
        Self { places }
    }

    /// The route that carries the connections to a port of a Service.
    pub fn choose(
        &self,
        service: &ServiceKey,
        port: u16,
        audience: &Audience,
    ) -> Option<&Arc<CompiledL4Route>> {
        if self.places.is_empty() {
            return None;
        }
        let ports = self.places.get(&(service.clone(), audience.clone()))?;
        let at = |port: Option<u16>| ports.iter().find(|(it, _)| *it == port).map(|(_, route)| route);
        at(Some(port)).or_else(|| at(None))
    }
}

/// Whether a route is bound to a Service.
pub(super) fn is_of_service(route: &CompiledL4Route) -> bool {
    route.route().attachments.iter().any(|it| matches!(it, Attachment::Service { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::l4_route;
    use fairway_config::model::{L4Kind, L4Route};

    fn at(
        kind: L4Kind,
        name: &str,
        created: i64,
        port: Option<u16>,
        audience: Audience,
    ) -> Arc<CompiledL4Route> {
        let attachments = vec![Attachment::Service { service: "shop/db".into(), port, audience }];
        Arc::new(CompiledL4Route::new(
            Arc::new(L4Route { created, attachments, ..l4_route(kind, name) }),
            fairway_telemetry::Telemetry::default().connections(),
        ))
    }

    #[test]
    fn a_port_has_one_route_and_a_namespace_its_own() {
        let client = || Audience::Consumer("client".into());
        let routes = [
            at(L4Kind::Tcp, "old", 1, None, Audience::Producer),
            at(L4Kind::Tcp, "young", 2, None, Audience::Producer),
            at(L4Kind::Tcp, "named", 9, Some(5432), Audience::Producer),
            at(L4Kind::Tcp, "tcp", 1, Some(443), Audience::Producer),
            at(L4Kind::Tls, "tls", 9, Some(443), Audience::Producer),
            at(L4Kind::Tcp, "client", 9, None, client()),
        ];
        let routes = routes.into_iter().map(|it| (it.route().key.clone(), it)).collect();
        let streams = ServiceStreams::build(&Arc::new(routes));
        for (port, audience, expected) in [
            (5432, Audience::Producer, Some("named")),
            (443, Audience::Producer, Some("tls")),
            (1, Audience::Producer, Some("old")),
            (5432, client(), Some("client")),
            (1, Audience::Consumer("other".into()), None),
        ] {
            let chosen = streams.choose(&"shop/db".into(), port, &audience);
            let chosen = chosen.map(|it| it.route().object.name.to_string());
            assert_eq!(chosen.as_deref(), expected, "{port} {audience:?}");
        }
        assert!(streams.choose(&"shop/other".into(), 1, &Audience::Producer).is_none());
    }
}
