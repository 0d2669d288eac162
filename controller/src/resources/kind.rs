//! Which kinds of objects there are, and how one is named.

use fairway_config::model::{self, L4Kind, ObjectName};
use std::fmt;
use std::sync::Arc;

/// The kinds of objects that are read. Each has one group; the version is the one listed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(
    missing_docs,
    reason = "each is the kind that it is called; those of the mesh begin with X in the API"
)]
pub enum Kind {
    Namespace,
    Service,
    EndpointSlice,
    Pod,
    Secret,
    ConfigMap,
    GatewayClass,
    Gateway,
    ListenerSet,
    HttpRoute,
    GrpcRoute,
    TlsRoute,
    TcpRoute,
    UdpRoute,
    BackendTlsPolicy,
    ReferenceGrant,
    GatewayParameters,
    Mesh,
    BackendTrafficPolicy,
    TelemetryPolicy,
    ExternalBackend,
}

/// The kinds of routes. (The model tells those that look into requests from those that do not; here they attach alike.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the protocol whose route it is")]
pub enum RouteKind {
    Http,
    Grpc,
    Tls,
    Tcp,
    Udp,
}

/// Names one object of a cluster.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// The kind; with it group and plural are known.
    pub kind: Kind,
    /// Its namespace; empty for objects that have none.
    pub namespace: Arc<str>,
    /// `metadata.name`; never empty.
    pub name: Arc<str>,
}

// === impl Kind ===

impl Kind {
    /// Every kind that is read, in the order in which reports name them.
    pub const ALL: [Self; 21] = [
        Self::Namespace,
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::Secret,
        Self::ConfigMap,
        Self::GatewayClass,
        Self::Gateway,
        Self::ListenerSet,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::TlsRoute,
        Self::TcpRoute,
        Self::UdpRoute,
        Self::BackendTlsPolicy,
        Self::ReferenceGrant,
        Self::GatewayParameters,
        Self::Mesh,
        Self::BackendTrafficPolicy,
        Self::TelemetryPolicy,
        Self::ExternalBackend,
    ];

    /// The kinds that are known and not carried out: objects of these are told so.
    pub const UNHANDLED: [Self; 3] =
        [Self::BackendTrafficPolicy, Self::TelemetryPolicy, Self::ExternalBackend];

    /// The kind's name in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::TlsRoute => "TLSRoute",
            Self::TcpRoute => "TCPRoute",
            Self::UdpRoute => "UDPRoute",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::GatewayParameters => "GatewayParameters",
            Self::Mesh => "XMesh",
            Self::BackendTrafficPolicy => "XBackendTrafficPolicy",
            Self::TelemetryPolicy => "XTelemetryPolicy",
            Self::ExternalBackend => "XBackend",
        }
    }

    /// The API group; empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::Namespace | Self::Service | Self::Pod | Self::Secret | Self::ConfigMap => "",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::GatewayClass
            | Self::Gateway
            | Self::ListenerSet
            | Self::HttpRoute
            | Self::GrpcRoute
            | Self::TlsRoute
            | Self::TcpRoute
            | Self::UdpRoute
            | Self::BackendTlsPolicy
            | Self::ReferenceGrant => fairway_gateway_api::GROUP,
            Self::GatewayParameters => "fairway.dev",
            // The experimental channel's own.
            Self::Mesh | Self::BackendTrafficPolicy | Self::TelemetryPolicy | Self::ExternalBackend => {
                "gateway.networking.x-k8s.io"
            }
        }
    }

    /// Versions whose schema is that of the type we parse it as.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Self::GatewayClass | Self::Gateway | Self::HttpRoute | Self::ReferenceGrant => &["v1", "v1beta1"],
            Self::TlsRoute => &["v1", "v1alpha3", "v1alpha2"],
            Self::TcpRoute | Self::UdpRoute => &["v1", "v1alpha2"],
            Self::BackendTlsPolicy => &["v1", "v1alpha3"],
            Self::GatewayParameters | Self::Mesh => &["v1alpha1"],
            Self::BackendTrafficPolicy | Self::TelemetryPolicy | Self::ExternalBackend => &["v1alpha1"],
            _ => &["v1"],
        }
    }

    /// Whether its objects live in a namespace.
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::GatewayClass | Self::Mesh)
    }

    /// Whether most clusters do not have it: nothing is waited for then.
    pub fn is_optional(self) -> bool {
        self == Self::Mesh || Self::UNHANDLED.contains(&self)
    }

    /// The kind with this group and name.
    pub fn of(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == kind && it.group() == group)
    }

    /// The kind of route it is.
    pub fn as_route(self) -> Option<RouteKind> {
        match self {
            Self::HttpRoute => Some(RouteKind::Http),
            Self::GrpcRoute => Some(RouteKind::Grpc),
            Self::TlsRoute => Some(RouteKind::Tls),
            Self::TcpRoute => Some(RouteKind::Tcp),
            Self::UdpRoute => Some(RouteKind::Udp),
            _ => None,
        }
    }

    /// The kind of object a kind of route comes from.
    pub fn of_route(kind: RouteKind) -> Self {
        match kind {
            RouteKind::Http => Self::HttpRoute,
            RouteKind::Grpc => Self::GrpcRoute,
            RouteKind::Tls => Self::TlsRoute,
            RouteKind::Tcp => Self::TcpRoute,
            RouteKind::Udp => Self::UdpRoute,
        }
    }
}

// === impl RouteKind ===

impl RouteKind {
    /// The five kinds of routes of the Gateway API.
    pub const ALL: [Self; 5] = [Self::Http, Self::Grpc, Self::Tls, Self::Tcp, Self::Udp];

    /// How proxies know it, if it looks into requests.
    pub fn as_l7(self) -> Option<model::RouteKind> {
        match self {
            Self::Http => Some(model::RouteKind::Http),
            Self::Grpc => Some(model::RouteKind::Grpc),
            Self::Tls | Self::Tcp | Self::Udp => None,
        }
    }

    /// How proxies know it, if it does not look into what it carries.
    pub fn as_l4(self) -> Option<L4Kind> {
        match self {
            Self::Http | Self::Grpc => None,
            Self::Tls => Some(L4Kind::Tls),
            Self::Tcp => Some(L4Kind::Tcp),
            Self::Udp => Some(L4Kind::Udp),
        }
    }
}

impl From<model::RouteKind> for RouteKind {
    fn from(kind: model::RouteKind) -> Self {
        match kind {
            model::RouteKind::Http => Self::Http,
            model::RouteKind::Grpc => Self::Grpc,
        }
    }
}

impl From<L4Kind> for RouteKind {
    fn from(kind: L4Kind) -> Self {
        match kind {
            L4Kind::Tls => Self::Tls,
            L4Kind::Tcp => Self::Tcp,
            L4Kind::Udp => Self::Udp,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl ObjectRef ===

impl ObjectRef {
    /// Puts a reference together.
    pub fn new(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// Names an object of a kind by its namespace and name.
    pub fn of(kind: Kind, name: &ObjectName) -> Self {
        Self { kind, namespace: name.namespace.clone(), name: name.name.clone() }
    }

    /// The same without the kind, as the model names objects.
    pub fn object_name(&self) -> ObjectName {
        ObjectName { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for ObjectRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("ObjectRef", 3)?;
        out.serialize_field("kind", self.kind.as_str())?;
        out.serialize_field("namespace", &*self.namespace)?;
        out.serialize_field("name", &*self.name)?;
        out.end()
    }
}
