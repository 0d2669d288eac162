//! What each resource says about who needs what.

use fairway_config::model::{
    Attachment, Audience, Listener, ListenerProtocol, Resource, ResourceKey, ResourceKind, Service,
    ServiceKey,
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

/// The edges a resource contributes: to what it names, and from what it says it belongs to.
pub fn edges(resource: &Resource) -> Vec<Edge> {
    let own = Point::Resource(resource.key());
    let mut edges: Vec<Edge> =
        resource.references().into_iter().map(|it| (own.clone(), Point::Resource(it))).collect();
    match resource {
        Resource::Listener(it) => of_listener(it, own, &mut edges),
        Resource::Route(it) => of_attachments(&it.attachments, &own, &mut edges),
        Resource::L4Route(it) => of_attachments(&it.attachments, &own, &mut edges),
        Resource::Endpoints(it) => {
            edges.push((point(ResourceKind::Backend, it.backend.as_arc()), own));
        }
        Resource::Service(it) => of_service(it, own, &mut edges),
        Resource::Workload(it) => {
            let local = Point::Local(it.key.as_arc());
            // Every node knows every pod, and the authorizations of its own pods only.
            edges.iter_mut().for_each(|(parent, _)| *parent = local.clone());
            edges.push((Point::Node(it.node.clone()), local));
        }
        Resource::Backend(_)
        | Resource::Certificate(_)
        | Resource::Authorization(_)
        | Resource::RateLimit(_)
        | Resource::Authentication(_) => {}
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

fn point(kind: ResourceKind, name: Arc<str>) -> Point {
    Point::Resource(ResourceKey::new(kind, name))
}

fn of_listener(listener: &Listener, own: Point, edges: &mut Vec<Edge>) {
    edges.push((Point::Gateway(listener.gateway.to_string().into()), own.clone()));
    match &listener.protocol {
        // A client that dials it has no namespace, thus no consumer routes.
        ListenerProtocol::Service { service, .. } => {
            edges.push((own, Point::Routed(service.clone(), Audience::Producer)));
        }
        ListenerProtocol::Hbone => {
            edges.push((own, Point::Namespace(listener.gateway.namespace.clone())));
        }
        ListenerProtocol::Http
        | ListenerProtocol::Https(_)
        | ListenerProtocol::TlsTerminate(_)
        | ListenerProtocol::TlsPassthrough
        | ListenerProtocol::Tcp
        | ListenerProtocol::Udp => {}
    }
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

fn of_service(service: &Service, own: Point, edges: &mut Vec<Edge>) {
    let produced = Point::Routed(service.key.clone(), Audience::Producer);
    edges.push((Point::Namespace(service.namespace.clone()), produced.clone()));
    edges.push((produced, own));
}
