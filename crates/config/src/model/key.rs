//! Names of things: each kind of resource has a key type of its own, so that one cannot stand for another.

use crate::kinds::for_each_kind;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Namespace and name of a Kubernetes object. Names are ordered as the Gateway API orders objects of one age: alphabetically by
/// `{namespace}/{name}`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ObjectName {
    /// The Kubernetes namespace that the object lives in.
    pub namespace: Arc<str>,
    /// The name, unique for its kind within the namespace.
    pub name: Arc<str>,
}

/// The number of a committed configuration; grows by one with each commit of one controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

macro_rules! resource_kind {
    ($($(#[$doc:meta])* $kind:ident { $($column:tt)* })+) => {
        /// The kinds of resources, in the order of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ResourceKind {
            $($(#[$doc])* $kind,)+
        }

        impl ResourceKind {
            /// Every kind, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$kind),+];
        }
    };
}

for_each_kind!(resource_kind);

/// What a delta names: a kind and a name within it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    /// The kind, within which the name is unique.
    pub kind: ResourceKind,
    /// The name, unique within the kind.
    pub name: Arc<str>,
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The key as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, shared with this key.
            pub fn as_arc(&self) -> Arc<str> {
                self.0.clone()
            }

            /// The text, borrowed from this key.
            pub fn shared(&self) -> &Arc<str> {
                &self.0
            }
        }

        impl<T: Into<Arc<str>>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )+};
}

keys! {
    /// `<gateway namespace>/<gateway name>/<listener name>`
    ListenerKey,
    /// `<kind>/<namespace>/<name>` of a route's object, e.g. `HTTPRoute/shop/reviews`
    RouteKey,
    /// `<namespace>/<service>:<port>`, `<namespace>/<service>:<port>/udp` for a UDP port (a Service may have one number
    /// twice), or `waypoint/<namespace>/<gateway>` for a waypoint's own endpoints
    BackendKey,
    /// `<namespace>/<secret>` of the Secret that holds a certificate and its private key
    CertificateKey,
    /// `<namespace>/<service>`: a whole Service; a port of it has a [`BackendKey`]
    ServiceKey,
    /// `<namespace>/<pod>`: a later pod of that name has the same key and another uid
    WorkloadKey,
    /// the name of an authorization: `<namespace>/<name>` of a policy, and behind `@` the form that it has at some targets
    AuthorizationKey,
    /// the name of limits: `<namespace>/<name>` of a policy, and behind `@` the target at which it counts
    RateLimitKey,
    /// the name of an authentication: `<namespace>/<name>` of a policy, and behind `@` that it is closed
    AuthenticationKey,
}

// === impl BackendKey ===

impl BackendKey {
    /// The key under which a waypoint's own endpoints are held.
    pub fn of_waypoint(gateway: &ObjectName) -> Self {
        Self::from(format!("waypoint/{gateway}"))
    }
}

// === impl AuthorizationKey ===

impl AuthorizationKey {
    /// The namespace and name of the policy that an authorization comes from: its name without the form.
    pub fn policy_of(name: &str) -> &str {
        name.split_once('@').map_or(name, |(policy, _)| policy)
    }
}

// === impl RateLimitKey ===

impl RateLimitKey {
    /// The namespace and name of the policy that limits come from: their name without the target.
    pub fn policy(&self) -> &str {
        AuthorizationKey::policy_of(&self.0)
    }

    /// The namespace of that policy; empty if the key has no `/`.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }
}

// === impl AuthenticationKey ===

impl AuthenticationKey {
    /// The namespace and name of the policy that it comes from.
    pub fn policy(&self) -> &str {
        AuthorizationKey::policy_of(&self.0)
    }
}

// === impl WorkloadKey ===

impl WorkloadKey {
    /// The namespace of the pod; empty if the key has no `/`.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }
}

// === impl ObjectName ===

impl ObjectName {
    /// Puts a name together.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Compares namespaces with their names: `team-a/x` stands before `team/x`, since `-` stands before `/`.
    pub fn compare(a: (&str, &str), b: (&str, &str)) -> Ordering {
        let ((namespace_a, name_a), (namespace_b, name_b)) = (a, b);
        if namespace_a == namespace_b {
            return name_a.cmp(name_b);
        }
        let text_a = namespace_a.bytes().chain([b'/']).chain(name_a.bytes());
        let text_b = namespace_b.bytes().chain([b'/']).chain(name_b.bytes());
        // No name has a `/`; but what is not equal must not compare as equal.
        text_a.cmp(text_b).then_with(|| a.cmp(&b))
    }
}

impl PartialOrd for ObjectName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectName {
    fn cmp(&self, other: &Self) -> Ordering {
        Self::compare((&self.namespace, &self.name), (&other.namespace, &other.name))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Generation ===

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl ResourceKey ===

impl ResourceKey {
    /// Puts a key together.
    pub fn new(kind: ResourceKind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

impl fmt::Debug for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_their_text() {
        let mut names = Vec::new();
        for namespace in ["", "team", "team-a", "team-b", "team0", "team.a", "a", "team-a-b"] {
            names.extend(["x", "x-y", "a", "team"].map(|name| ObjectName::new(namespace, name)));
        }
        let mut texts: Vec<_> = names.iter().map(ToString::to_string).collect();
        texts.sort();
        names.sort();
        assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), texts);
        assert!(ObjectName::new("team-a", "x") < ObjectName::new("team", "x"));
        assert_ne!(ObjectName::new("a/b", "c").cmp(&ObjectName::new("a", "b/c")), Ordering::Equal);
    }
}
