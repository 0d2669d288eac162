//! What each resource says about who needs what.

use fairway_config::model::{
    Attachment, Audience, Backend, BackendKey, BackendTarget, Filter, L4Route, Listener, ListenerProtocol,
    Resource, ResourceKey, ResourceKind, Route, Service, ServiceKey, Workload,
};
use std::sync::Arc;

/// A point of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// The proxy of a Gateway or waypoint, `<namespace>/<name>`.
    Gateway(Arc<str>),
    /// The tunnel of a node.
    Node(Arc<str>),
    /// What the waypoints of a namespace stand before.
    Namespace(Arc<str>),
    /// A Service whose requests a proxy routes, for this audience.
    Routed(ServiceKey, Audience),
    /// A pod on the proxy's own node (every node knows every pod, but only these pods' authorizations).
    Local(Arc<str>),
    /// A resource that is needed, whether it exists yet or not.
    Resource(ResourceKey),
}

/// Who needs the first needs the second.
pub type Edge = (Point, Point);

/// The edges a resource contributes.
pub fn edges(resource: &Resource) -> Vec<Edge> {
    let mut edges = Vec::new();
    match resource {
        Resource::Listener(it) => of_listener(it, &mut edges),
        Resource::Route(it) => of_route(it, &mut edges),
        Resource::L4Route(it) => of_l4_route(it, &mut edges),
        Resource::Backend(it) => of_backend(it, &mut edges),
        Resource::Endpoints(it) => edges.push((backend(&it.backend), endpoints(&it.backend))),
        Resource::Service(it) => of_service(it, &mut edges),
        Resource::Workload(it) => of_workload(it, &mut edges),
        Resource::Certificate(_) | Resource::Authorization(_) => {}
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

fn point(kind: ResourceKind, name: Arc<str>) -> Point {
    Point::Resource(ResourceKey::new(kind, name))
}

fn backend(key: &BackendKey) -> Point {
    point(ResourceKind::Backend, key.as_arc())
}

fn endpoints(key: &BackendKey) -> Point {
    point(ResourceKind::Endpoints, key.as_arc())
}

fn of_listener(listener: &Listener, edges: &mut Vec<Edge>) {
    let own = point(ResourceKind::Listener, listener.key.as_arc());
    edges.push((Point::Gateway(listener.gateway.to_string().into()), own.clone()));
    let shown = listener.backend_certificate.iter();
    edges.extend(shown.map(|it| (own.clone(), point(ResourceKind::Certificate, it.as_arc()))));
    match &listener.protocol {
        ListenerProtocol::Https(tls) | ListenerProtocol::TlsTerminate(tls) => edges.extend(
            tls.certificates.iter().map(|it| (own.clone(), point(ResourceKind::Certificate, it.as_arc()))),
        ),
        // A client that dials it has no namespace, thus no consumer routes.
        ListenerProtocol::Service { service, .. } => {
            edges.push((own, Point::Routed(service.clone(), Audience::Producer)));
        }
        ListenerProtocol::Hbone { .. } => {
            edges.push((own, Point::Namespace(listener.gateway.namespace.clone())));
        }
        ListenerProtocol::Http
        | ListenerProtocol::TlsPassthrough
        | ListenerProtocol::Tcp
        | ListenerProtocol::Udp => {}
    }
}

fn of_route(route: &Route, edges: &mut Vec<Edge>) {
    let own = point(ResourceKind::Route, route.key.as_arc());
    of_attachments(&route.attachments, &own, edges);
    for rule in &route.rules {
        let targets = rule.backends.iter().map(|it| &it.target);
        let filters = rule.filters.iter().chain(rule.backends.iter().flat_map(|it| &it.filters));
        let mirrors = filters.filter_map(|filter| match filter {
            Filter::Mirror(mirror) => Some(&mirror.target),
            _ => None,
        });
        of_targets(targets.chain(mirrors), &own, edges);
    }
}

fn of_l4_route(route: &L4Route, edges: &mut Vec<Edge>) {
    let own = point(ResourceKind::L4Route, route.key.as_arc());
    of_attachments(&route.attachments, &own, edges);
    of_targets(route.backends.iter().map(|it| &it.target), &own, edges);
}

fn of_attachments(attachments: &[Attachment], own: &Point, edges: &mut Vec<Edge>) {
    edges.extend(attachments.iter().map(|attachment| {
        let parent = match attachment {
            Attachment::Listener { listener, .. } => point(ResourceKind::Listener, listener.as_arc()),
            Attachment::Service { service, audience, .. } => Point::Routed(service.clone(), audience.clone()),
        };
        (parent, own.clone())
    }));
    // A Service's own edge may come later: tunnels are sent to a waypoint when it is ready, and it is ready when it has this.
    for attachment in attachments {
        if let Attachment::Service { service, audience: audience @ Audience::Consumer(namespace), .. } =
            attachment
        {
            let routed = Point::Routed(service.clone(), audience.clone());
            edges.push((Point::Namespace(namespace.clone()), routed.clone()));
            edges.push((routed, point(ResourceKind::Service, service.as_arc())));
        }
    }
}

fn of_targets<'a>(targets: impl Iterator<Item = &'a BackendTarget>, own: &Point, edges: &mut Vec<Edge>) {
    edges.extend(targets.filter_map(|target| match target {
        BackendTarget::Backend(key) => Some((own.clone(), backend(key))),
        BackendTarget::Unresolved(_) => None,
    }));
}

fn of_backend(it: &Backend, edges: &mut Vec<Edge>) {
    if let Some((waypoint, _)) = &it.via {
        edges.push((backend(&it.key), endpoints(waypoint)));
    }
}

fn of_service(service: &Service, edges: &mut Vec<Edge>) {
    let own = point(ResourceKind::Service, service.key.as_arc());
    let produced = Point::Routed(service.key.clone(), Audience::Producer);
    edges.push((Point::Namespace(service.namespace.clone()), produced.clone()));
    edges.push((produced, own.clone()));
    edges.extend(service.ports.iter().map(|port| (own.clone(), backend(&port.backend))));
}

fn of_workload(workload: &Workload, edges: &mut Vec<Edge>) {
    let local = Point::Local(workload.key.as_arc());
    edges.push((Point::Node(workload.node.clone()), local.clone()));
    edges.extend(
        workload
            .authorizations
            .iter()
            .map(|it| (local.clone(), point(ResourceKind::Authorization, it.as_arc()))),
    );
}
