//! Which message a diagnostic is.

use crate::status::reason as condition;
use std::fmt;

macro_rules! reasons {
    ($($name:ident $(=> $condition:ident)?,)*) => {
        /// Which message a diagnostic is: one for each message, with the word that the Gateway API has for it in a condition.
        /// `snapshots/fairway_controller__diagnostic__tests__golden.snap` shows an example of each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[allow(missing_docs)] // The example of each is its documentation.
        pub enum Reason {
            $($name,)*
        }

        impl Reason {
            /// Every reason, in the order of the golden file.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name, as `fairway check --output json` shows it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The reason of a condition that says this: the Gateway API's word where it has one, else `Invalid`.
            pub fn condition(self) -> &'static str {
                match self {
                    $($(Self::$name => condition::$condition,)?)*
                    _ => condition::INVALID,
                }
            }
        }
    };
}

reasons! {
    // Files, and the manifests in them.
    DirectoryUnreadable,
    DirectoryEmpty,
    FileUnreadable,
    FileEmpty,
    YamlInvalid,
    NotAnObject,
    KindUnknown,
    KindIgnored,
    EndpointsNotRead,
    VersionUnknown,
    ObjectNameInvalid,
    NamespaceNameInvalid,
    ObjectInvalid,
    ObjectTwice,
    ObjectInTwoFiles,

    // The schema of a kind.
    TypeMismatch,
    ValueNotAllowed,
    FieldMissing,
    FieldUnknown,
    TooManyEntries,
    TooManyItems,
    TooFewItems,
    ItemDuplicate,
    TextTooLong,
    TextTooShort,
    PatternMismatch,
    NumberOutOfRange,

    // The validation rules of a kind.
    AddressDuplicate,
    RoutabilityInvalid,
    ListenerDuplicate,
    ListenerTlsNotAllowed,
    ListenerTlsModeMissing,
    ListenerHostnameNotAllowed,
    ListenerFiltersNotAllowed,
    TrustBundleNamespace,
    ParentDuplicate,
    RuleNameDuplicate,
    TooManyMatches,
    RouteHostnameIsAddress,
    PathNotNormal,
    PathEndsWithDots,
    PathCharactersInvalid,
    GrpcMethodEmpty,
    GrpcNameInvalid,
    BackendPortMissing,
    FilterFieldMissing,
    FilterFieldOfOtherType,
    FilterTwice,
    PathModifierMismatch,
    PrefixReplacementNeedsOneMatch => UNSUPPORTED_VALUE,
    CorsWildcardNotAlone,
    PolicyTargetDuplicate,
    SubjectAltNameMissing,
    SubjectAltNameOfOtherType,

    // GatewayClasses and the parameters of proxies.
    ParametersNamespaceMissing => INVALID_PARAMETERS,
    ParametersKindUnknown => INVALID_PARAMETERS,
    ParametersNotFound => INVALID_PARAMETERS,
    ParametersUnreadable => INVALID_PARAMETERS,
    ParametersInvalid => INVALID_PARAMETERS,
    ClassParametersInvalid => INVALID_PARAMETERS,
    GatewayClassNotFound => PENDING,
    GatewayClassUnreadable => PENDING,

    // Gateways, ListenerSets and their listeners.
    GatewayUnreadable,
    AddressTypeUnsupported => UNSUPPORTED_ADDRESS,
    AddressInvalid => ADDRESS_NOT_USABLE,
    RoutabilityUnsupported => ADDRESS_NOT_ASSIGNED,
    RoutabilityNeedsCluster => ADDRESS_NOT_ASSIGNED,
    AnnotationNotOnPods,
    WaypointDefaultScope => NOT_SUPPORTED,
    WaypointFrontendTls => NOT_SUPPORTED,
    WaypointAllowedListeners => NOT_SUPPORTED,
    ListenerProtocolConflict => PROTOCOL_CONFLICT,
    ListenerHostnameConflict => HOSTNAME_CONFLICT,
    ListenerProtocolUnsupported => UNSUPPORTED_PROTOCOL,
    ListenerHostnameInvalid => UNSUPPORTED_VALUE,
    ListenerFiltersNeedRequests => INVALID_LISTENER_FILTER,
    ListenerFilterEmpty => INVALID_LISTENER_FILTER,
    ListenerFilterHeaderName => INVALID_LISTENER_FILTER,
    ListenerFilterInvalid => INVALID_LISTENER_FILTER,
    ListenerFilterUnsupported => UNSUPPORTED_VALUE,
    ListenerFilterExtensionUnknown => INVALID_LISTENER_FILTER_REF,
    ListenerRouteKind => INVALID_ROUTE_KINDS,
    ListenerTlsOption => NOT_SUPPORTED,
    HttpsPassthrough => UNSUPPORTED_VALUE,
    HbonePort => PORT_UNAVAILABLE,
    HboneHostname => NOT_SUPPORTED,
    HboneTls => NOT_SUPPORTED,
    PortOfTheProxy => PORT_UNAVAILABLE,
    PortOfAnotherGateway => PORT_UNAVAILABLE,
    NamespaceSelectorInvalid,
    ClientCertificatesNeedHttps => NOT_SUPPORTED,
    ClientAuthoritiesMissing => NO_VALID_CA_CERTIFICATE,
    ListenerSetParentKind,
    ListenerSetParentNotFound,
    ListenerSetNotAllowed => NOT_ALLOWED,
    ListenerSetOnWaypoint => NOT_ALLOWED,

    // References to certificates.
    CertificateMissing => INVALID_CERTIFICATE_REF,
    CertificateKindUnknown => INVALID_CERTIFICATE_REF,
    CertificateNotFound => INVALID_CERTIFICATE_REF,
    CertificateInvalid => INVALID_CERTIFICATE_REF,
    CertificateOutOfPeriod,
    CertificateHostnameMismatch,
    AuthorityOutOfPeriod,
    AuthoritiesKindUnknown => INVALID_CA_CERTIFICATE_KIND,
    AuthoritiesKindNotServed => INVALID_CA_CERTIFICATE_KIND,
    AuthoritiesNamespace => INVALID_CA_CERTIFICATE_REF,
    AuthoritiesNotFound => INVALID_CA_CERTIFICATE_REF,
    AuthoritiesInvalid => INVALID_CA_CERTIFICATE_REF,
    AuthoritiesTooLarge => INVALID_CA_CERTIFICATE_REF,
    ReferenceNotPermitted => REF_NOT_PERMITTED,

    RouteUnreadable => UNSUPPORTED_VALUE,

    // The parents of routes.
    ParentKindUnknown,
    ParentNotFound,
    ParentServiceImport => UNSUPPORTED_VALUE,
    ParentServiceNotFound => NO_MATCHING_PARENT,
    ParentServiceHeadless => UNSUPPORTED_VALUE,
    ParentServiceExternalName => UNSUPPORTED_VALUE,
    ParentServicePortNotFound => NO_MATCHING_PARENT,
    ParentServiceUnavailable => NO_MATCHING_PARENT,
    UdpRouteOnService => UNSUPPORTED_VALUE,
    RouteNeedsMesh,
    ListenerNotFound => NO_MATCHING_PARENT,
    ListenerHostnameMismatch => NO_MATCHING_LISTENER_HOSTNAME,
    RouteKindNotAllowed => NOT_ALLOWED_BY_LISTENERS,
    RouteNamespaceNotAllowed => NOT_ALLOWED_BY_LISTENERS,
    RouteHostnameInvalid => UNSUPPORTED_VALUE,
    HostnamesInvalid => UNSUPPORTED_VALUE,
    RouteHostnameConflict => CONFLICTED,
    RouteShadowed,
    ListenerHasOlderRoute,
    ServicePortConflict => CONFLICTED,
    ServicePortHasOlderRoute,

    // The rules of routes.
    PathNotAbsolute => UNSUPPORTED_VALUE,
    PathExpressionNeverMatches => NOT_SUPPORTED,
    ConnectNeverMatches => NOT_SUPPORTED,
    ExpressionInvalid => UNSUPPORTED_VALUE,
    RouteExpressionsTooLarge => UNSUPPORTED_VALUE,
    NamespaceExpressionsTooLarge => UNSUPPORTED_VALUE,
    HeaderNameInvalid => UNSUPPORTED_VALUE,
    HeaderValueInvalid => UNSUPPORTED_VALUE,
    QueryNameEmpty => UNSUPPORTED_VALUE,
    ExternalAuthBodyUnsupported => UNSUPPORTED_VALUE,
    FilterEmpty => UNSUPPORTED_VALUE,
    FilterInvalid => UNSUPPORTED_VALUE,
    FilterExtensionUnknown => INVALID_KIND,
    FiltersIncompatible => INCOMPATIBLE_FILTERS,
    RedirectWithRewrite => INCOMPATIBLE_FILTERS,
    RedirectWithBackends => INCOMPATIBLE_FILTERS,
    RedirectStatusInvalid => UNSUPPORTED_VALUE,
    RedirectPortInvalid => UNSUPPORTED_VALUE,
    PathModifierEmpty => UNSUPPORTED_VALUE,
    MirrorSharesTwo => UNSUPPORTED_VALUE,
    MirrorShareInvalid => UNSUPPORTED_VALUE,
    CorsMethodInvalid => UNSUPPORTED_VALUE,
    CorsOriginInvalid => UNSUPPORTED_VALUE,
    SessionPersistence => NOT_SUPPORTED,
    DurationInvalid => UNSUPPORTED_VALUE,
    BackendTimeoutTooLong => UNSUPPORTED_VALUE,
    RetryAttemptsInvalid => UNSUPPORTED_VALUE,
    RetryAttemptsTooMany => NOT_SUPPORTED,
    RetryCodeInvalid => UNSUPPORTED_VALUE,
    RulesBeyondTheFirst => NOT_SUPPORTED,

    // The backends of routes.
    WeightInvalid => UNSUPPORTED_VALUE,
    BackendKindUnknown => INVALID_KIND,
    BackendServiceNotFound => BACKEND_NOT_FOUND,
    BackendExternalName => INVALID_KIND,
    BackendPortNotFound => BACKEND_NOT_FOUND,
    BackendProtocolMismatch => UNSUPPORTED_PROTOCOL,
    BackendUdpThroughWaypoint => UNSUPPORTED_PROTOCOL,
    BackendNotPermitted => REF_NOT_PERMITTED,
    BackendUnavailable => BACKEND_NOT_FOUND,
    EndpointAddressNotAllowed,
    EndpointsAreProxies,
    TooManyEndpoints,
    TooManyGuards,
    NoEndpoints,

    // BackendTLSPolicies, and kinds that are not implemented.
    PolicyUnreadable,
    PolicyServiceNotFound => TARGET_NOT_FOUND,
    PolicyPortNotFound => TARGET_NOT_FOUND,
    PolicyTargetKindUnknown => NOT_SUPPORTED,
    PolicyConflict => CONFLICTED,
    PolicyTlsOption => NOT_SUPPORTED,
    PolicyHostnameInvalid,
    SubjectAltNameInvalid,
    WellKnownUnknown,
    AncestorsLeftOut,
    AccessPolicyUnreadable,
    AccessPolicyValueInvalid,
    AccessPolicyNoRoom,
    AccessPolicyNotSupported,
    AccessPolicyFieldMisplaced,
    AccessPolicyNeedsRequests,
    AccessPolicyAddressOfService,
    AccessPolicyNeedsMesh => NOT_ENFORCED,
    AccessPolicyNotEnforced => NOT_ENFORCED,
    AccessPolicyForProxies => NOT_ENFORCED,
    AccessPolicyTargetKindUnknown => NOT_SUPPORTED,
    AccessPolicyTargetNotFound => TARGET_NOT_FOUND,
    AccessPolicySectionNotFound => TARGET_NOT_FOUND,
    AccessPolicyAllowsNobody,
    AccessPolicyGuardsNothing,
    AccessPolicyIdentityAtGateway,
    AccessPolicyBehindWaypoint,
    ClientPolicyUnreadable,
    ClientPolicyValueInvalid,
    ClientPolicyTlsUnreadable,
    ClientPolicyFieldUnknown,
    ClientPolicyEmpty,
    ClientPolicyTargetKind,
    ClientPolicyTargetNotFound => TARGET_NOT_FOUND,
    ClientPolicySectionNotFound => TARGET_NOT_FOUND,
    ClientPolicyAtWaypoint,
    ClientPolicyConflict => CONFLICTED,
    ClientPolicyNeedsRequests,
    ClientPolicyOfDatagrams,
    ClientPolicyPortDiffers,
    ClientPolicyOverGuard,
    RateLimitPolicyUnreadable,
    RateLimitPolicyValueInvalid,
    RateLimitPolicyNotSupported,
    RateLimitPolicyAddressOfService,
    RateLimitPolicyNeedsMesh,
    RateLimitPolicyNotEnforced,
    RateLimitPolicyTargetNotFound => TARGET_NOT_FOUND,
    RateLimitPolicySectionNotFound => TARGET_NOT_FOUND,
    RateLimitPolicyCountsNothing,
    RateLimitPolicyIdentityAtGateway,
    RateLimitPolicyNoRequests,
    RateLimitPolicyListenerOfBytes,
    RateLimitPolicyNoRoom,
    RateLimitPolicyPerReplica,
    RateLimitPolicyTargetKind,
    AuthenticationPolicyUnreadable,
    AuthenticationPolicyValueInvalid,
    AuthenticationPolicyCredentialsNotFound,
    AuthenticationPolicyNotSupported,
    AuthenticationPolicyNeedsMesh,
    AuthenticationPolicyNotEnforced,
    AuthenticationPolicyTargetNotFound => TARGET_NOT_FOUND,
    AuthenticationPolicySectionNotFound => TARGET_NOT_FOUND,
    AuthenticationPolicyHasNoEffect,
    AuthenticationPolicyNoRequests,
    AuthenticationPolicyListenerOfBytes,
    AuthenticationPolicyNoRoom,
    AuthenticationPolicyTargetKind,
    PolicyNamesNoAuthority,
    PolicyNamesTwoAuthorities,
    PolicyAuthoritiesMissing => NO_VALID_CA_CERTIFICATE,
    KindNotImplemented => NOT_SUPPORTED,

    // The compiler itself.
    QueryFault,

    // The mesh.
    MeshOfAnotherController,
    MeshDuplicate => CONFLICTED,
    MeshParameters => INVALID_PARAMETERS,
    MeshNotInstalled => NOT_INSTALLED,
    WaypointNotReady => PENDING,
    WaypointLabelUnknown,
    WaypointNeedsMesh => NOT_INSTALLED,
    WaypointNeedsClusterIp,
    WaypointNotEnforcedAtAddress,
    WaypointNotEnforcedForPods,
    ServiceAccountInvalid,
    PodIsNotTheProxy,
    ProxyPodChanged,
    MutualTlsStricter,
    MutualTlsUnknown,

    // A cluster: Kubernetes.
    KubernetesTooOld,
    KubernetesUntested,
    KubernetesVersionUnknown,
    KindUnreadable,
    InstallerLacksRight,
    AccountLacksRight,
    RightsUnknown,

    // A cluster: the Gateway API.
    GatewayApiMissing,
    GatewayApiUnreadable,
    GatewayApiKindMissing,
    GatewayApiVersionsMixed,
    GatewayApiChannelsMixed,
    GatewayApiVersionUnknown,
    GatewayApiTooOld,
    GatewayApiTooNew,
    GatewayParametersMissing,

    // A cluster: nodes.
    NodesUnreadable,
    NodeNotLinux,
    NodeNotReady,
    KernelTooOld,
    ArchitectureUnsupported,
    RuntimeUntested,
    ZtunnelNotReady,
    ZtunnelMissing,

    // A cluster: the programs of Fairway.
    NotInstalled,
    InstallationUnreadable,
    ControllersNotReady,
    LeaderUnreadable,
    NoLeader,
    LeaderSilent,
    ZtunnelSetMissing,
    ZtunnelForbidden,
    ZtunnelSetNotReady,
    ZtunnelUpgrading,
    VersionsMixed,
    GatewayClassMissing,

    // A cluster: the mesh.
    MeshEmpty,
    MeshLabelUnknown,
    MeshLabelIsAnnotation,
    MutualTlsLabelUnknown,
    LabelUnknown,
    PodOptedOut,
    PodOnHostNetwork,
    PodBeingCaptured,
    PodNotCaptured,
    PodPending,
    PodWithoutCaptureCondition,
    NetworkPoliciesUnreadable,
    NetworkPolicyIngress,
    NetworkPolicyEgress,
    ProbeOfAnotherHost,

    // A cluster: what only statuses say.
    StatusMissing,
    ConditionBad,
}

// === impl Reason ===

impl Reason {
    /// Whether the message is about a route as a whole, wherever in it the fault is found: it is told once.
    pub(crate) fn is_of_whole_route(self) -> bool {
        matches!(self, Self::RouteExpressionsTooLarge | Self::NamespaceExpressionsTooLarge)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
