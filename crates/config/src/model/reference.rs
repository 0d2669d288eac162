//! Which resources a resource names.

use super::{
    Backend, BackendKey, BackendTarget, CertificateKey, Filter, L4Route, Listener, ListenerProtocol,
    Resource, ResourceKey, ResourceKind, Route, Service, Workload,
};

impl Resource {
    /// The resources without which this one cannot be carried out, whether they exist or not.
    ///
    /// They are what its own fields name. A backend's endpoints name the backend, so they are not among its references.
    pub fn references(&self) -> Vec<ResourceKey> {
        match self {
            Self::Listener(it) => listener(it),
            Self::Route(it) => route(it),
            Self::L4Route(it) => l4_route(it),
            Self::Backend(it) => backend(it),
            Self::Service(it) => service(it),
            Self::Workload(it) => workload(it),
            Self::Endpoints(_) | Self::Certificate(_) | Self::Authorization(_) => Vec::new(),
        }
    }
}

fn listener(listener: &Listener) -> Vec<ResourceKey> {
    let served: &[CertificateKey] = match &listener.protocol {
        ListenerProtocol::Https(tls) | ListenerProtocol::TlsTerminate(tls) => &tls.certificates,
        _ => &[],
    };
    let named = served.iter().chain(&listener.backend_certificate);
    named.map(|it| ResourceKey::new(ResourceKind::Certificate, it.as_arc())).collect()
}

fn route(route: &Route) -> Vec<ResourceKey> {
    let mut references = Vec::new();
    for rule in &route.rules {
        let targets = rule.backends.iter().map(|it| &it.target);
        let filters = rule.filters.iter().chain(rule.backends.iter().flat_map(|it| &it.filters));
        let mirrors = filters.filter_map(|filter| match filter {
            Filter::Mirror(mirror) => Some(&mirror.target),
            _ => None,
        });
        references.extend(targets.chain(mirrors).filter_map(target));
    }
    references
}

fn l4_route(route: &L4Route) -> Vec<ResourceKey> {
    route.backends.iter().filter_map(|it| target(&it.target)).collect()
}

fn target(target: &BackendTarget) -> Option<ResourceKey> {
    match target {
        BackendTarget::Backend(key) => Some(of_backend(ResourceKind::Backend, key)),
        BackendTarget::Unresolved(_) => None,
    }
}

fn backend(backend: &Backend) -> Vec<ResourceKey> {
    backend.via.iter().map(|(waypoint, _)| of_backend(ResourceKind::Endpoints, waypoint)).collect()
}

fn service(service: &Service) -> Vec<ResourceKey> {
    service.ports.iter().map(|port| of_backend(ResourceKind::Backend, &port.backend)).collect()
}

fn workload(workload: &Workload) -> Vec<ResourceKey> {
    let named = workload.authorizations.iter();
    named.map(|it| ResourceKey::new(ResourceKind::Authorization, it.as_arc())).collect()
}

fn of_backend(kind: ResourceKind, key: &BackendKey) -> ResourceKey {
    ResourceKey::new(kind, key.as_arc())
}
