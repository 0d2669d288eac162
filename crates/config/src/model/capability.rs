//! What a proxy can carry out. Proxies and the controller are not of one version all the time.
//!
//! A proxy names its capabilities when it subscribes. The controller knows from them, before it sends a resource, whether
//! the proxy would carry it out as it is meant. If not, the proxy gets a version of the resource that closes what it cannot
//! carry out: never a route without the stage that guards it. A proxy of the first edition names none, and has those of
//! [`Capabilities::FIRST_EDITION`].

use super::filter::for_each_filter;
use super::{AuthenticationKey, AuthorizationKey, Filter, RateLimitKey, ResourceKey};
use fairway_policy::Condition;
use std::fmt;

macro_rules! capabilities {
    (
        filters { $($filter:ident = $filter_name:literal, $filter_edition:ident;)+ }
    ) => {
        capabilities! {
            filters { $($filter)+ }
            $(
                #[doc = concat!("[`Filter::", stringify!($filter), "`]")]
                $filter = $filter_name, $filter_edition;
            )+
            /// [`Filter::Unresolved`], by which everything else is closed.
            Unresolved = "filter.unresolved", First;
            /// [`Condition::PeerIs`] and [`Condition::PeerIsNot`], which compare whole SPIFFE IDs.
            PeerIdentity = "condition.peer-identity", First;
            /// [`Condition::PortIs`]: the port that the client dialled.
            Port = "condition.port", First;
            /// [`Condition::PeerNamespaceIs`]: a namespace of one trust domain.
            PeerNamespace = "condition.peer-namespace", Later;
            /// [`Condition::ClientIn`] and [`Condition::ClientNotIn`]: ranges of addresses.
            ClientAddress = "condition.client-address", Later;
            /// [`Condition::HostIs`], exact or `*.` with a suffix.
            Host = "condition.host", Later;
            /// [`Condition::MethodIs`]: one of several methods of HTTP.
            Method = "condition.method", Later;
            /// [`Condition::PathIs`]: paths and methods of gRPC.
            Path = "condition.path", Later;
            /// [`Condition::HeaderIs`]: one header of the request.
            Header = "condition.header", Later;
            /// [`Condition::AnyOf`]: alternatives within a rule.
            AnyOf = "condition.any-of", Later;
            /// [`fairway_policy::Mode::Observe`]: a verdict that is counted and not carried out.
            Observe = "authorization.observe", Later;
            /// The authorizations of a listener, a rule or a backend.
            Attached = "authorization.attached", Later;
            /// The name of a rule of an authorization.
            RuleName = "authorization.rule-name", Later;
            /// [`AddressSource`](super::AddressSource), other than the connection.
            AddressSource = "listener.address-source", Later;
            /// [`TlsTermination::min_version`](super::TlsTermination::min_version), other than TLS 1.2.
            TlsMinVersion = "listener.tls-min-version", Later;
            /// [`TlsTermination::algorithms`](super::TlsTermination::algorithms): cipher suites and groups.
            TlsAlgorithms = "listener.tls-algorithms", Later;
            /// [`ClientTreatment::timeouts`](super::ClientTreatment::timeouts): how long a listener waits for its clients.
            ClientTimeouts = "listener.client-timeouts", Later;
            /// [`ClientTreatment::limits`](super::ClientTreatment::limits): what a listener lets its clients have.
            ClientLimits = "listener.client-limits", Later;
            /// [`ClientTreatment::certificate_header`](super::ClientTreatment::certificate_header): telling endpoints of certificates.
            ClientCertificateHeader = "listener.client-certificate-header", Later;
            /// [`ClientTreatment::request_ids`](super::ClientTreatment::request_ids): whose ids of requests hold.
            RequestIds = "listener.request-ids", Later;
            /// [`ClientTreatment::underscores`](super::ClientTreatment::underscores): what becomes of headers with `_`.
            Underscores = "listener.underscores", Later;
            /// [`ClientTreatment::keepalive`](super::ClientTreatment::keepalive): when silent clients are asked for.
            ClientKeepalive = "listener.client-keepalive", Later;
            /// [`Listener::filters`](super::Listener::filters): filters that run before a route is matched.
            ListenerFilters = "listener.filters", Later;
            /// [`Listener::closed`](super::Listener::closed): a listener that serves nobody. Who knows it says with each refusal of a listener
            /// which version of it stays in force.
            ClosedListener = "listener.closed", Later;
            /// The rate limits of a listener, a rule or a backend, which each proxy counts by itself.
            LocalLimits = "limit.local", Later;
            /// The authentications of a listener, a rule or a backend.
            Authentication = "authentication", Later;
            /// [`ApiKeys`](super::ApiKeys) that clients send.
            ApiKeys = "authentication.api-keys", Later;
            /// Tokens of [`JwtProvider`](super::JwtProvider)s whose keys are in the configuration.
            Jwt = "authentication.jwt", Later;
        }
    };
    (
        filters { $($filter:ident)+ }
        $($(#[$doc:meta])* $capability:ident = $name:literal, $edition:ident;)+
    ) => {
        /// Something that a rule or a policy can ask of a proxy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Capability {
            $($(#[$doc])* $capability,)+
        }

        impl Capability {
            /// Every capability of this version, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$capability),+];

            /// The name on the wire and in messages; it never changes.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$capability => $name,)+
                }
            }

            const fn edition(self) -> Edition {
                match self {
                    $(Self::$capability => Edition::$edition,)+
                }
            }
        }

        /// What a filter asks of a proxy.
        pub(super) fn of_filter(filter: &Filter) -> Capability {
            match filter {
                $(Filter::$filter(_) => Capability::$filter,)+
                // One that this version does not know closes its rule, as one that is not resolved does.
                Filter::Unresolved(_) | Filter::Unknown(_) => Capability::Unresolved,
            }
        }
    };
}

for_each_filter!(capabilities);

/// When a capability came.
#[derive(Clone, Copy)]
enum Edition {
    /// Proxies of this edition do not name what they know.
    First,
    Later,
}

/// A set of capabilities.
///
/// ```
/// use fairway_config::model::{Capabilities, Capability};
///
/// // A proxy names them as text. A newer one names more, which changes nothing for an older controller.
/// let named = Capabilities::named(["filter.of-the-future", Capability::Host.name()]);
/// assert_eq!(named, Capabilities::from_iter([Capability::Host]));
/// // A proxy that names none is an old one, and not one that knows nothing.
/// assert!(Capabilities::OF_THIS_VERSION.include(Capabilities::FIRST_EDITION));
/// assert!(Capabilities::FIRST_EDITION.contains(Capability::PeerIdentity));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Capabilities(u64);

/// What a kind of resource asks of a proxy, and how it is closed for one that cannot do it.
///
/// ```
/// use fairway_config::model::{Authorization, Capabilities, Requires};
/// use fairway_policy::{Action, Cidr, Condition, Rule};
///
/// let office: Cidr = "10.0.0.0/8".parse()?;
/// let from_the_office = Rule::when(vec![Condition::ClientIn([office].into_iter().collect())]);
/// let allow = Authorization::new("shop/office", Action::Allow, vec![from_the_office]);
///
/// // A proxy of the first edition does not know addresses of clients. It gets the rule with a condition that it does not
/// // understand, which matches nothing in an Allow. Without the condition the rule would let everybody in.
/// let known = Capabilities::FIRST_EDITION;
/// assert!(!known.include(allow.requires()));
/// let closed = allow.closed_for(known).ok_or("an authorization can be closed")?;
/// assert!(matches!(closed.rules[0].conditions[..], [Condition::NotUnderstood(_)]));
/// assert!(known.include(closed.requires()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Requires: Sized {
    /// Without these a proxy cannot carry it out as it is meant.
    fn requires(&self) -> Capabilities {
        Capabilities::NONE
    }

    /// What a proxy gets that has only these: everything that it cannot carry out is closed. `None`: it gets nothing.
    fn closed_for(&self, _known: Capabilities) -> Option<Self> {
        None
    }
}

/// Why a proxy got another version of a resource than the one that was written, in words for the one who wrote it.
pub fn reason_closed(key: &ResourceKey, missing: Capabilities, version: &str) -> String {
    let version = if version.is_empty() { "unknown" } else { version };
    format!(
        "{key} needs {missing}, which a proxy of version {version} does not know; what depends on it is closed there. Upgrade \
         the proxy to the version of the controller"
    )
}

// === impl Capability ===

impl Capability {
    const fn bit(self) -> u64 {
        1 << self as u64
    }
}

// === impl Capabilities ===

impl Capabilities {
    /// No capability: what every proxy has.
    pub const NONE: Self = Self(0);

    /// What this version of the program can carry out.
    pub const OF_THIS_VERSION: Self = Self::since(false);

    /// What proxies can carry out that do not name their capabilities.
    pub const FIRST_EDITION: Self = Self::since(true);

    const fn since(first_only: bool) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < Capability::ALL.len() {
            let capability = Capability::ALL[at];
            if !first_only || matches!(capability.edition(), Edition::First) {
                bits |= capability.bit();
            }
            at += 1;
        }
        Self(bits)
    }

    /// Whether all of the others are among these.
    pub fn include(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// Those that are not among the others.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether this one is among them.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// Those on which a decision depends. The rest is for logs.
    #[must_use]
    pub fn that_decide(self) -> Self {
        self.without(Self(Capability::RuleName.bit()))
    }

    /// Each of them, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |it| self.contains(*it))
    }

    /// Those of these names that this version knows. A newer proxy names more.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let known = |name: &str| Capability::ALL.iter().copied().find(|it| it.name() == name);
        names.into_iter().filter_map(known).collect()
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().fold(0, |bits, it| bits | it.bit()))
    }
}

impl Extend<Capability> for Capabilities {
    fn extend<I: IntoIterator<Item = Capability>>(&mut self, capabilities: I) {
        self.0 |= Self::from_iter(capabilities).0;
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, capability) in self.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{}", capability.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// What the authentications, authorizations and limits that a listener, a rule or a backend names ask of the proxy that serves it.
pub(super) fn that_guards(
    authentications: &[AuthenticationKey],
    authorizations: &[AuthorizationKey],
    limits: &[RateLimitKey],
) -> Capabilities {
    let guards = [
        authentications.first().map(|_| Capability::Authentication),
        authorizations.first().map(|_| Capability::Attached),
        limits.first().map(|_| Capability::LocalLimits),
    ];
    guards.into_iter().flatten().collect()
}

/// What a condition itself asks of a proxy; those within it ask for themselves. `None`: no proxy understands it.
pub(super) fn of_condition(condition: &Condition) -> Option<Capability> {
    Some(match condition {
        Condition::PeerIs(_) | Condition::PeerIsNot(_) => Capability::PeerIdentity,
        Condition::PeerNamespaceIs { .. } => Capability::PeerNamespace,
        Condition::ClientIn(_) | Condition::ClientNotIn(_) => Capability::ClientAddress,
        Condition::PortIs(_) => Capability::Port,
        Condition::HostIs(_) => Capability::Host,
        Condition::MethodIs(_) => Capability::Method,
        Condition::PathIs(_) => Capability::Path,
        Condition::HeaderIs(_) => Capability::Header,
        Condition::AnyOf(_) => Capability::AnyOf,
        Condition::NotUnderstood(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary;
    use crate::model::ResourceKind;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_closed_for_a_proxy_asks_of_it_what_it_knows(
            resource in arbitrary::resource(),
            bits in any::<u64>(),
        ) {
            // By this one everything is closed, and every edition has it.
            let known = Capabilities(bits | Capability::Unresolved.bit());
            if !known.include(resource.requires()) {
                let Some(closed) = resource.closed_for(known) else {
                    // Only a listener for tunnels, or of a Service's address, is not served at all; limits are unknown to who does
                    // not count, and authentications to who does not authenticate.
                    use ResourceKind::{Authentication, Listener, RateLimit};
                    prop_assert!(matches!(resource.key().kind, Listener | RateLimit | Authentication));
                    return Ok(());
                };
                prop_assert_eq!(closed.key(), resource.key());
                prop_assert!(known.include(closed.requires()));
            }
        }
    }

    #[test]
    fn names_are_unique_and_are_read_as_they_are_written() {
        assert!(Capability::ALL.len() <= 64);
        for capability in Capability::ALL {
            assert_eq!(Capabilities::named([capability.name()]), Capabilities::from_iter([*capability]));
        }
        assert_eq!(Capabilities::named(["filter.of-the-future"]), Capabilities::NONE);
        assert!(Capabilities::OF_THIS_VERSION.include(Capabilities::FIRST_EDITION));
        assert!(!Capabilities::FIRST_EDITION.contains(Capability::ClientAddress));
    }
}
