//! The compiled configuration as types: what the controller decides and the proxies carry out.
//!
//! Small resources, child points to parent (a route names its listeners, a listener does not list its routes),
//! so that one edit by a user sends one small message. A value that exists is valid: names are parsed, regular
//! expressions and header names checked when it is made, never per request.

mod backend;
mod certificate;
mod filter;
mod hostname;
mod key;
mod l4route;
mod listener;
mod locality;
mod matching;
mod path;
mod pattern;
mod probe;
mod program;
mod reference;
mod route;
mod segments;
mod service;
mod trust;
mod validity;
mod workload;

pub use backend::{AppProtocol, Backend, Endpoint, EndpointState, Endpoints, Guard};
pub use certificate::{Certificate, InvalidCertificate, Period, Validity};
pub use filter::{
    CorsPolicy, Filter, Fraction, HeaderModifier, Mirror, OriginPattern, PathModifier, Redirect, Scheme,
    UrlRewrite,
};
pub use hostname::{HostnamePattern, InvalidHostname};
pub use key::{
    AuthorizationKey, BackendKey, CertificateKey, Generation, ListenerKey, ObjectName, ResourceKey,
    ResourceKind, RouteKey, ServiceKey, WorkloadKey,
};
pub use l4route::{L4Kind, L4Route, WeightedTarget};
pub use listener::{Listener, ListenerProtocol, TlsTermination};
pub use locality::{Affinity, Family, Hints, Imprint, Locality, Reach};
pub use matching::{GrpcMethodMatch, HeaderMatch, Match, PathMatch, QueryMatch, ValueMatch};
pub use path::{InvalidPath, check_replacement, never_matching_escape, normalised_path};
pub use pattern::{InvalidPattern, Pattern};
pub use probe::{HttpProbe, Probe, ProbeAction};
pub use route::{
    Attachment, Audience, BackendTarget, HostMatch, Retry, Route, RouteKind, Rule, Timeouts, Unresolved,
    WeightedBackend,
};
pub use service::{ConsumerWaypoint, Service, ServicePort};
pub use trust::{
    BackendSecurity, BackendTls, BackendTrust, ClientValidation, InvalidBundle, SubjectName, TrustBundle,
    WithoutCertificate,
};
pub use validity::{InvalidFilter, check_header, check_hostname, check_together};
pub use workload::{Aside, MESH_LABEL, MUTUAL_TLS_LABEL, Mesh, MutualTls, Workload};

pub use fairway_identity::SpiffeId;
pub use fairway_policy::Authorization;

use std::sync::Arc;

/// One resource of the compiled configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// A place where a proxy accepts connections.
    Listener(Arc<Listener>),
    /// Rules bound to listeners or Services.
    Route(Arc<Route>),
    /// A port of a Service: how to speak to it.
    Backend(Arc<Backend>),
    /// Where a backend's endpoints are.
    Endpoints(Arc<Endpoints>),
    /// A certificate and its key.
    Certificate(Arc<Certificate>),
    /// A Service as a destination: its addresses and its waypoint.
    Service(Arc<Service>),
    /// A pod.
    Workload(Arc<Workload>),
    /// Who may connect.
    Authorization(Arc<Authorization>),
    /// A route that does not look into what it carries.
    L4Route(Arc<L4Route>),
}

impl Resource {
    /// The kind and name under which this resource is held.
    pub fn key(&self) -> ResourceKey {
        match self {
            Self::Listener(it) => ResourceKey::new(ResourceKind::Listener, it.key.as_arc()),
            Self::Route(it) => ResourceKey::new(ResourceKind::Route, it.key.as_arc()),
            Self::Backend(it) => ResourceKey::new(ResourceKind::Backend, it.key.as_arc()),
            Self::Endpoints(it) => ResourceKey::new(ResourceKind::Endpoints, it.backend.as_arc()),
            Self::Certificate(it) => ResourceKey::new(ResourceKind::Certificate, it.key.as_arc()),
            Self::Service(it) => ResourceKey::new(ResourceKind::Service, it.key.as_arc()),
            Self::Workload(it) => ResourceKey::new(ResourceKind::Workload, it.key.as_arc()),
            Self::Authorization(it) => ResourceKey::new(ResourceKind::Authorization, it.name.clone()),
            Self::L4Route(it) => ResourceKey::new(ResourceKind::L4Route, it.key.as_arc()),
        }
    }
}
