//! The compiled configuration as types: what the controller decides and the proxies carry out.
//!
//! Small resources, child points to parent (a route names its listeners, a listener does not list its routes),
//! so that one edit by a user sends one small message. A value that exists is valid: names are parsed, regular
//! expressions and header names checked when it is made, never per request.

mod address_source;
mod authentication;
mod authorization;
mod backend;
mod capability;
mod certificate;
mod client_treatment;
mod filter;
mod json_web_key;
mod key;
mod l4route;
mod listener;
mod locality;
mod matching;
mod path;
mod probe;
mod rate_limit;
mod reference;
mod route;
mod segments;
mod service;
mod tls_algorithms;
mod trust;
mod validity;
mod workload;

pub use address_source::AddressSource;
pub use authentication::{
    ApiKeys, Authentication, ClaimHeader, ClientKey, CredentialMethods, CredentialPlace, Demands,
    JwtProvider, Satisfy,
};
pub use backend::{AppProtocol, Backend, Endpoint, EndpointState, Endpoints, Guard};
pub use capability::{Capabilities, Capability, Requires, reason_closed};
pub use certificate::{Certificate, InvalidCertificate, Period, Validity};
pub use client_treatment::{
    CertificateHeader, ClientKeepalive, ClientLimit, ClientLimits, ClientTimeout, ClientTimeouts,
    ClientTreatment, RequestIds, Underscores,
};
pub use filter::*;
pub use json_web_key::{InvalidKeySet, JsonWebKey, JsonWebKeySet, KeyMaterial, Secrets, SigningAlgorithm};
pub use key::{
    AuthenticationKey, AuthorizationKey, BackendKey, CertificateKey, Generation, ListenerKey, ObjectName,
    RateLimitKey, ResourceKey, ResourceKind, RouteKey, ServiceKey, WorkloadKey,
};
pub use l4route::{L4Kind, L4Route, WeightedTarget};
pub use listener::{Listener, ListenerProtocol, TlsTermination, TlsVersion};
pub use locality::{Family, Hints, InternalTrafficPolicy, SessionAffinity};
pub use matching::*;
pub use path::{InvalidPath, check_replacement, never_matching_escape, normalised_path};
pub use probe::{HttpProbe, Probe, ProbeAction};
pub use rate_limit::{Limit, LimitKeyPart, Limits, RateLimit};
pub(crate) use reference::Keyed;
pub use reference::References;
pub use route::{
    Attachment, Audience, BackendTarget, HostMatch, Retry, Route, RouteKind, Rule, Timeouts, Unresolved,
    WeightedBackend,
};
pub use service::{ConsumerWaypoint, Service, ServicePort};
pub use tls_algorithms::{CipherSuite, KeyExchangeGroup, TlsAlgorithms};
pub use trust::{
    BackendSecurity, BackendTls, BackendTrust, ClientValidation, InvalidBundle, SubjectName, TrustBundle,
    WithoutCertificate,
};
pub use validity::{InvalidFilter, check_header, check_hostname, check_together};
pub use workload::{CaptureExemption, MESH_LABEL, MUTUAL_TLS_LABEL, Mesh, MutualTls, Workload};

pub use fairway_identity::SpiffeId;
pub use fairway_policy::{
    Authorization, GrpcMethodMatch, HeaderMatch, HostnamePattern, InvalidHostname, InvalidPattern, PathMatch,
    Pattern, ValueMatch,
};

use crate::kinds::for_each_kind;
use std::sync::Arc;

macro_rules! resource {
    ($($(#[$doc:meta])* $kind:ident { table: $table:ident, key: $key:ident = $key_of:expr, wire: $wire:ident })+) => {
        /// One resource of the compiled configuration.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Resource {
            $($(#[$doc])* $kind(Arc<$kind>),)+
        }

        impl Resource {
            /// The kind and name under which this resource is held.
            pub fn key(&self) -> ResourceKey {
                match self {
                    $(Self::$kind(it) => ResourceKey::new(ResourceKind::$kind, it.key().as_arc()),)+
                }
            }

            /// The resources without which this one cannot be carried out, whether they exist or not: what its own fields
            /// name. The endpoints of a backend name the backend, so they are not among its references.
            pub fn references(&self) -> Vec<ResourceKey> {
                match self {
                    $(Self::$kind(it) => it.references(),)+
                }
            }

            /// The capabilities without which a proxy cannot carry this resource out as it is meant.
            pub fn requires(&self) -> Capabilities {
                match self {
                    $(Self::$kind(it) => it.requires(),)+
                }
            }

            /// The version for a proxy with these capabilities only, in which everything is closed that it cannot carry
            /// out. `None`: the proxy must not have the resource at all.
            pub fn closed_for(&self, known: Capabilities) -> Option<Self> {
                Some(match self {
                    $(Self::$kind(it) => Self::$kind(Arc::new(it.closed_for(known)?)),)+
                })
            }
        }

        $(impl Keyed for $kind {
            type Key = $key;

            fn key(&self) -> $key {
                let key_of: fn(&Self) -> $key = $key_of;
                key_of(self)
            }
        })+
    };
}

for_each_kind!(resource);

impl Resource {
    /// The listeners that a route is bound to; none for other resources.
    pub fn listeners(&self) -> impl Iterator<Item = &ListenerKey> {
        let attachments = match self {
            Self::Route(it) => it.attachments.as_slice(),
            Self::L4Route(it) => it.attachments.as_slice(),
            _ => &[],
        };
        attachments.iter().filter_map(Attachment::listener)
    }

    /// The same without what binds it to closed listeners. `None`: nothing else binds it.
    pub fn detached(&self, is_closed: impl Fn(&ListenerKey) -> bool) -> Option<Self> {
        if !self.listeners().any(&is_closed) {
            return Some(self.clone());
        }
        Some(match self {
            Self::Route(it) => {
                let attachments = Attachment::at_open(&it.attachments, is_closed);
                (!attachments.is_empty())
                    .then(|| Self::Route(Arc::new(Route { attachments, ..(**it).clone() })))?
            }
            Self::L4Route(it) => {
                let attachments = Attachment::at_open(&it.attachments, is_closed);
                (!attachments.is_empty())
                    .then(|| Self::L4Route(Arc::new(L4Route { attachments, ..(**it).clone() })))?
            }
            other => other.clone(),
        })
    }
}
