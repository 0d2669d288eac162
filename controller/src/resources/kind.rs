//! Which kinds of objects there are, and how one is named.

use super::table::for_each_kind;
use fairway_config::model::{self, L4Kind, ObjectName};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The group of the Gateway API, `gateway.networking.k8s.io`.
const GATEWAY_API: &str = fairway_gateway_api::GROUP;
/// The group of kinds that are in the Gateway API's experimental channel only. Their names begin with X.
const GATEWAY_API_EXPERIMENTAL: &str = "gateway.networking.x-k8s.io";
/// The group of Fairway's own kinds.
const FAIRWAY: &str = "fairway.dev";

macro_rules! kinds {
    (objects { $($object:tt)+ } policies { $($policy:tt)+ } unhandled { $($unhandled:tt)+ }) => {
        kinds! { $($object)+ $($policy)+ $($unhandled)+ }
        kinds! { policies $($policy)+ }
        kinds! { unhandled $($unhandled)+ }
    };
    (policies $($(#[$doc:meta])* $name:ident { $($column:tt)+ })+) => {
        impl Kind {
            /// The kinds of policies that are carried out; all of them have `targetRefs`.
            pub const POLICIES: &[Self] = &[$(Self::$name),+];
        }
    };
    (unhandled $($(#[$doc:meta])* $name:ident { $($column:tt)+ })+) => {
        impl Kind {
            /// The kinds that are known and not carried out: objects of these are told so.
            pub const UNHANDLED: &[Self] = &[$(Self::$name),+];
        }
    };
    ($($(#[$doc:meta])* $name:ident {
        kind: $kind:literal, group: $group:expr, versions: $versions:expr, key: $key:ident, $($column:tt)*
    })+) => {
        /// The kinds of objects that are read, from the table in `resources::table`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $name,)+
        }

        impl Kind {
            const COUNT: usize = [$(Self::$name),+].len();

            /// Every kind that is read, in the order in which reports name them.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$name),+];

            /// The kind's name in a manifest.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $kind,)+
                }
            }

            /// The API group; empty for the core group.
            pub fn group(self) -> &'static str {
                match self {
                    $(Self::$name => $group,)+
                }
            }

            /// Versions whose schema is that of the type we parse it as, the preferred one first.
            pub fn versions(self) -> &'static [&'static str] {
                match self {
                    $(Self::$name => &$versions,)+
                }
            }

            /// Whether its objects live in a namespace.
            pub fn is_namespaced(self) -> bool {
                match self {
                    $(Self::$name => <$key as ObjectKey>::IS_NAMESPACED,)+
                }
            }
        }
    };
}

for_each_kind!(kinds);

/// What names an object within its kind.
pub(crate) trait ObjectKey {
    /// Whether it has a namespace.
    const IS_NAMESPACED: bool;

    /// The name of an object of a kind.
    fn object_ref(&self, kind: Kind) -> ObjectRef;
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

/// Names one object of a cluster. Objects of one kind are in the order of their [`ObjectName`]s.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ObjectRef {
    /// The kind; with it group and plural are known.
    pub kind: Kind,
    /// Its namespace; empty for objects that have none.
    pub namespace: Arc<str>,
    /// The object's `metadata.name`; never empty.
    pub name: Arc<str>,
}

// === impl Kind ===

impl Kind {
    /// Whether compiling does without it: most clusters do not have it, or it may not be readable.
    pub fn is_optional(self) -> bool {
        matches!(self, Self::Mesh | Self::Definition | Self::ClusterTrustBundle)
            || Self::UNHANDLED.contains(&self)
    }

    /// Whether nothing is compiled before its objects have been seen, where a cluster has it. Without ClusterTrustBundles what
    /// trusts them would be closed for a moment whenever a controller starts.
    pub fn is_awaited(self) -> bool {
        !self.is_optional() || self == Self::ClusterTrustBundle
    }

    /// The kind with this group and name.
    pub fn named(group: &str, kind: &str) -> Option<Self> {
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

// === impl ObjectKey ===

impl ObjectKey for ObjectName {
    const IS_NAMESPACED: bool = true;

    fn object_ref(&self, kind: Kind) -> ObjectRef {
        ObjectRef::from_name(kind, self)
    }
}

impl ObjectKey for str {
    const IS_NAMESPACED: bool = false;

    fn object_ref(&self, kind: Kind) -> ObjectRef {
        ObjectRef::new(kind, "", self)
    }
}

// === impl ObjectRef ===

impl PartialOrd for ObjectRef {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectRef {
    fn cmp(&self, other: &Self) -> Ordering {
        let names = || ObjectName::compare((&self.namespace, &self.name), (&other.namespace, &other.name));
        self.kind.cmp(&other.kind).then_with(names)
    }
}

impl ObjectRef {
    /// Puts a reference together.
    pub fn new(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// Names an object of a kind by its namespace and name.
    pub fn from_name(kind: Kind, name: &ObjectName) -> Self {
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
