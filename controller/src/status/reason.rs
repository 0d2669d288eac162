//! The API's own words: types and reasons of conditions.
#![allow(missing_docs)] // Each constant is the word it stands for.

// Types.
pub const ACCEPTED: &str = "Accepted";
pub const ADDRESSES_ASSIGNED: &str = "AddressesAssigned";
pub const CONFLICTED: &str = "Conflicted";
pub const DEFAULT_GATEWAY: &str = "DefaultGateway";
pub const INSECURE_FRONTEND_VALIDATION_MODE: &str = "InsecureFrontendValidationMode";
pub const OVERLAPPING_TLS_CONFIG: &str = "OverlappingTLSConfig";
pub const PARTIALLY_INVALID: &str = "PartiallyInvalid";
pub const PROGRAMMED: &str = "Programmed";
pub const RESOLVED_REFS: &str = "ResolvedRefs";
pub const SUPPORTED_VERSION: &str = "SupportedVersion";

/// A resource made of this object was refused by a proxy: a condition of our own, only there while that is so.
pub const REFUSED: &str = "fairway.dev/RefusedByProxy";

/// Fields of this object are accepted and have no effect, and which: a condition of our own, only there while that is so.
pub const IGNORED_FIELDS: &str = "fairway.dev/IgnoredFields";

/// Of a waypoint's Gateway: traffic has been moved to it, and from then on nothing goes around it. Compiling reads it again.
pub const BOUND: &str = "fairway.dev/Bound";

/// Of a route with a Service, or of a policy: the proxies that have to enforce it have it.
pub const ENFORCED: &str = "fairway.dev/Enforced";

/// Of a Service: connections to it go through a waypoint, and which. Compiling reads it again.
pub const THROUGH_WAYPOINT: &str = "fairway.dev/ThroughWaypoint";

/// Of a pod: whether it is captured (docs/decisions/0007-who-is-captured.md).
pub const CAPTURED: &str = "fairway.dev/Captured";

/// The types of conditions that are ours to write and to take away; those of others in the same list stay.
const OURS: &[&str] = &[
    ACCEPTED,
    ADDRESSES_ASSIGNED,
    CONFLICTED,
    DEFAULT_GATEWAY,
    IGNORED_FIELDS,
    OVERLAPPING_TLS_CONFIG,
    PARTIALLY_INVALID,
    PROGRAMMED,
    RESOLVED_REFS,
    SUPPORTED_VERSION,
    REFUSED,
    BOUND,
    ENFORCED,
    THROUGH_WAYPOINT,
    INSECURE_FRONTEND_VALIDATION_MODE,
];

/// Whether a type of condition is ours to write and to take away.
pub fn is_ours(kind: &str) -> bool {
    OURS.contains(&kind)
}

/// Whether a type of condition is in our own domain: nobody else writes it, on whatever object.
pub fn is_own(kind: &str) -> bool {
    kind.starts_with("fairway.dev/")
}

/// Whether a condition of this type and status is as it should be; some say what is wrong, and are good when false.
pub fn is_good(kind: &str, status: &str) -> bool {
    let negative = [
        CONFLICTED,
        IGNORED_FIELDS,
        INSECURE_FRONTEND_VALIDATION_MODE,
        OVERLAPPING_TLS_CONFIG,
        PARTIALLY_INVALID,
        REFUSED,
    ]
    .contains(&kind);
    status == if negative { "False" } else { "True" }
}

// Reasons. Those that hold are called as their type.
pub const ADDRESS_NOT_ASSIGNED: &str = "AddressNotAssigned";
pub const ADDRESS_NOT_USABLE: &str = "AddressNotUsable";
/// Of a Gateway that has every address it asks for (GEP-5093).
pub const ASSIGNED: &str = "Assigned";
pub const BACKEND_NOT_FOUND: &str = "BackendNotFound";
/// Of a Service that only clients of some namespaces reach through a waypoint, theirs.
pub const BY_CONSUMER_WAYPOINT: &str = "ByConsumerWaypoint";
/// Of a policy: every proxy that has to enforce it has it.
pub const BY_PROXIES: &str = "ByProxies";
pub const BY_WAYPOINT: &str = "ByWaypoint";
pub const CONFIGURATION_CHANGED: &str = "ConfigurationChanged";
pub const HAS_BEEN_READY: &str = "HasBeenReady";
pub const HOSTNAME_CONFLICT: &str = "HostnameConflict";
pub const INCOMPATIBLE_FILTERS: &str = "IncompatibleFilters";
pub const INVALID: &str = "Invalid";
pub const INVALID_CA_CERTIFICATE_KIND: &str = "InvalidCACertificateKind";
pub const INVALID_CA_CERTIFICATE_REF: &str = "InvalidCACertificateRef";
pub const INVALID_CERTIFICATE_REF: &str = "InvalidCertificateRef";
pub const INVALID_CLIENT_CERTIFICATE_REF: &str = "InvalidClientCertificateRef";
/// A filter of a listener that is none (GEP-5224).
pub const INVALID_LISTENER_FILTER: &str = "InvalidListenerFilter";
pub const INVALID_LISTENER_FILTER_REF: &str = "InvalidListenerFilterRef";
pub const INVALID_KIND: &str = "InvalidKind";
pub const INVALID_PARAMETERS: &str = "InvalidParameters";
pub const INVALID_ROUTE_KINDS: &str = "InvalidRouteKinds";
pub const LISTENERS_NOT_RESOLVED: &str = "ListenersNotResolved";
pub const LISTENERS_NOT_VALID: &str = "ListenersNotValid";
pub const NO_CONFLICTS: &str = "NoConflicts";
pub const NO_MATCHING_LISTENER_HOSTNAME: &str = "NoMatchingListenerHostname";
pub const NO_MATCHING_PARENT: &str = "NoMatchingParent";
pub const NO_VALID_CA_CERTIFICATE: &str = "NoValidCACertificate";
pub const NOT_ASSIGNED: &str = "NotAssigned";
/// Of a policy that is not enforced, because it is not accepted.
pub const NOT_ACCEPTED: &str = "NotAccepted";
pub const NOT_INSTALLED: &str = "NotInstalled";
pub const NOT_ALLOWED: &str = "NotAllowed";
/// Of a policy that is understood, and that some clients can pass by: nobody judges them there.
pub const NOT_ENFORCED: &str = "NotEnforced";
/// Of a kind, a field or a value that Fairway knows and does not carry out.
pub const NOT_SUPPORTED: &str = "NotSupported";
/// Of a route or a policy: a proxy that has to enforce it does not have this version of it yet.
pub const NOT_ACKNOWLEDGED: &str = "NotAcknowledged";
pub const NOT_ALLOWED_BY_LISTENERS: &str = "NotAllowedByListeners";
pub const OVERLAPPING_HOSTNAMES: &str = "OverlappingHostnames";
/// Of a policy: another one holds in place of a part of it (GEP-713).
pub const OVERRIDDEN: &str = "Overridden";
pub const PARENT_NOT_ACCEPTED: &str = "ParentNotAccepted";
pub const PARENT_NOT_PROGRAMMED: &str = "ParentNotProgrammed";
pub const PARTIALLY_ASSIGNED: &str = "PartiallyAssigned";
pub const PENDING: &str = "Pending";
pub const PORT_UNAVAILABLE: &str = "PortUnavailable";
pub const PROTOCOL_CONFLICT: &str = "ProtocolConflict";
pub const REF_NOT_PERMITTED: &str = "RefNotPermitted";
/// Of a route or a policy: a proxy that has to enforce it refuses a resource that was made of it.
pub const REFUSED_BY_PROXY: &str = "Refused";
pub const TARGET_NOT_FOUND: &str = "TargetNotFound";
pub const UNSUPPORTED_ADDRESS: &str = "UnsupportedAddress";
pub const UNSUPPORTED_PROTOCOL: &str = "UnsupportedProtocol";
pub const UNSUPPORTED_VALUE: &str = "UnsupportedValue";
pub const UNSUPPORTED_VERSION: &str = "UnsupportedVersion";
/// Of a route: connections had been moved to a waypoint that is no more, and are refused until the next one is ready.
pub const WAYPOINT_GONE: &str = "WaypointGone";
