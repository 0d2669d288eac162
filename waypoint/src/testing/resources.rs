//! Resources of a small configuration: HTTP on one port, routes, backends with endpoints.

use fairway_config::model::{
    AddressSource, AppProtocol, Attachment, Backend, BackendSecurity, BackendTarget, CorsPolicy, Endpoint,
    EndpointState, Endpoints, HeaderModifier, Listener, ListenerProtocol, Match, ObjectName, OriginPattern,
    PathMatch, Redirect, Resource, Route, RouteKind, Rule, Timeouts, WeightedBackend,
};
use http::{HeaderName, HeaderValue, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A listener of the Gateway `shop/gateway` for HTTP, on port 80 of every address and for every host.
pub fn listener(key: &str) -> Listener {
    Listener {
        key: key.into(),
        gateway: ObjectName::new("shop", "gateway"),
        section: key.rsplit('/').next().unwrap_or_default().into(),
        addresses: vec![],
        port: 80,
        hostname: None,
        protocol: ListenerProtocol::Http,
        backend_certificate: None,
        authorizations: vec![],
        closed: None,
        address_source: AddressSource::Connection,
        filters: vec![],
        limits: vec![],
        treatment: None,
        authentications: vec![],
    }
}

/// The HTTPRoute `shop/<name>` with these rules, for every host of a listener.
pub fn route(name: &str, listener: &str, rules: Vec<Rule>) -> Route {
    Route {
        key: format!("HTTPRoute/shop/{name}").into(),
        kind: RouteKind::Http,
        object: ObjectName::new("shop", name),
        created: 0,
        attachments: vec![Attachment::Listener { listener: listener.into(), hostnames: vec![] }],
        rules,
    }
}

/// A rule that sends everything under a prefix to one backend.
pub fn rule(prefix: &str, backend: &str) -> Rule {
    Rule {
        name: None,
        matches: vec![Match {
            path: PathMatch::Prefix(prefix.trim_end_matches('/').into()),
            headers: vec![],
            query: vec![],
            method: None,
        }],
        filters: vec![],
        backends: vec![to(1, backend)],
        timeouts: Timeouts::default(),
        retry: None,
        authorizations: vec![],
        limits: vec![],
        authentications: vec![],
    }
}

/// A backend of a rule.
pub fn to(weight: u32, backend: &str) -> WeightedBackend {
    WeightedBackend { weight, target: BackendTarget::Backend(backend.into()), filters: vec![] }
}

/// A backend `<namespace>/<service>:<port>` without TLS, and its endpoints, all of them ready.
pub fn backend(key: &str, protocol: AppProtocol, addresses: &[SocketAddr]) -> Vec<Resource> {
    let (service, port) = key.rsplit_once(':').unwrap_or((key, "80"));
    let endpoint = |address: &SocketAddr| Endpoint {
        address: *address,
        state: EndpointState::Ready,
        identity: None,
        node: None,
        hints: None,
    };
    let endpoints = Endpoints::of_anybody(key.into(), addresses.iter().map(endpoint).collect());
    let backend = Backend {
        key: key.into(),
        service: service.into(),
        port: port.parse().unwrap_or(80),
        protocol,
        security: BackendSecurity::Plain,
        via: None,
        authorizations: vec![],
        limits: vec![],
        authentications: vec![],
    };
    vec![Resource::Backend(Arc::new(backend)), Resource::Endpoints(Arc::new(endpoints))]
}

/// `10.0.0.<host>:80`. No packet is sent there: streams in memory need an address, too.
pub fn endpoint(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 80).into()
}

/// A modifier that sets one header and replaces what it had.
pub fn set(name: &'static str, value: &'static str) -> HeaderModifier {
    HeaderModifier {
        set: vec![(HeaderName::from_static(name), HeaderValue::from_static(value))],
        ..HeaderModifier::default()
    }
}

/// A redirect (302) to another host.
pub fn redirect(hostname: &str) -> Redirect {
    Redirect {
        scheme: None,
        hostname: Some(hostname.into()),
        path: None,
        port: None,
        status: StatusCode::FOUND,
    }
}

/// A CORS policy that allows these origins whatever they ask for, but no credentials.
pub fn cors(origins: OriginPattern) -> CorsPolicy {
    CorsPolicy {
        allow_origins: vec![origins],
        allow_credentials: false,
        allow_methods: None,
        allow_headers: None,
        expose_headers: None,
        max_age: Duration::from_secs(5),
    }
}
