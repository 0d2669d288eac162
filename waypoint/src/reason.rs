//! Why the proxy itself answers a request, and with which status.

use crate::limit::Refused;
use crate::route::{BadRequest, TooLong};
use crate::stage::Failure;
use crate::wire::Ambiguity;
use http::StatusCode;

/// Why the proxy itself answers a request. Each has a status, a word for metrics and logs, and a sentence for the client
/// that tells nothing of what is behind the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A head that no route may see.
    BadRequest(BadRequest),
    /// Framing that two parsers could read differently.
    Ambiguous(Ambiguity),
    /// The client's body broke off or is malformed.
    BadBody,
    /// The client sent its body too slowly.
    SlowBody,
    /// A body longer than the limit of the listener.
    BodyTooLarge,
    /// CONNECT, which is for forward proxies.
    Connect,
    /// A target that is neither a path nor `*`.
    BadTarget,
    /// A target longer than the limit, or too long for an expression that it is compared with.
    TargetTooLong,
    /// More header fields than the limit.
    TooManyFields,
    /// A head larger than the limit, or a header too long for an expression that it is compared with.
    HeadTooLarge,
    /// A header field that is malformed, or that some servers take for another one.
    BadField,
    /// An expectation other than `100-continue`.
    Expectation,
    /// No listener takes the host.
    NoListener,
    /// The listener that takes the host serves nobody.
    ListenerClosed,
    /// The host belongs to another listener than the one whose certificate was shown.
    Misdirected,
    /// No rule of a route matches the request.
    NoRoute,
    /// The client has not said who it is, as a policy asks for it.
    Unauthenticated,
    /// An authentication is not known, or cannot be carried out.
    UnresolvedAuthentication,
    /// A policy does not let it pass.
    Denied,
    /// A limit does not let it pass for now.
    Limited(Refused),
    /// A limit is not known, or cannot be carried out.
    UnresolvedLimit,
    /// The request has passed the rule before.
    Loop,
    /// The rule has no backend to choose from.
    NoBackend,
    /// The rule's backend leads nowhere.
    UnresolvedBackend,
    /// A filter of the rule or of the listener cannot be carried out.
    UnresolvedFilter,
    /// A filter of the rule or of the listener answered.
    Filter,
    /// An authorization service was to be asked, and there is no decision of it.
    NotAuthorized,
    /// The backend has no endpoint that serves.
    NoEndpoint,
    /// No connection to an endpoint.
    Unreachable,
    /// The backend's BackendTLSPolicy cannot be met, so nothing was sent.
    TlsPolicy,
    /// No TLS session with an endpoint: its certificate is not what the policy asks for, or it does not want ours.
    Tls,
    /// The proxy has no certificate yet, and the endpoint takes mTLS only.
    NoIdentity,
    /// The endpoint refused the request without looking at it.
    Refused,
    /// The connection to the endpoint broke before it answered.
    Broken,
    /// The endpoint does not speak the protocol it should.
    Protocol,
    /// The route's limit for the whole request passed.
    RequestTimeout,
    /// The route's limit for one try passed.
    TryTimeout,
}

// === impl Reason ===

impl Reason {
    /// The status of HTTP. A gRPC client gets 200 and [`Self::grpc_status`].
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::Ambiguous(_) | Self::BadBody | Self::BadTarget | Self::BadField => {
                StatusCode::BAD_REQUEST
            }
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooManyFields | Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::NoListener | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NotAuthorized => StatusCode::FORBIDDEN,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::ListenerClosed
            | Self::NoBackend
            | Self::UnresolvedBackend
            | Self::UnresolvedFilter
            | Self::UnresolvedAuthentication
            | Self::UnresolvedLimit
            | Self::Filter
            | Self::TlsPolicy => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoEndpoint | Self::Unreachable | Self::NoIdentity | Self::Refused => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Tls | Self::Broken | Self::Protocol => StatusCode::BAD_GATEWAY,
            Self::RequestTimeout | Self::TryTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The word for metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::Ambiguous(_) => "ambiguous_framing",
            Self::BadBody => "bad_body",
            Self::SlowBody => "slow_body",
            Self::BodyTooLarge => "body_too_large",
            Self::Connect => "connect",
            Self::BadTarget => "bad_target",
            Self::TargetTooLong => "target_too_long",
            Self::TooManyFields => "too_many_fields",
            Self::HeadTooLarge => "head_too_large",
            Self::BadField => "bad_field",
            Self::Expectation => "expectation",
            Self::NoListener => "no_listener",
            Self::ListenerClosed => "listener_closed",
            Self::Misdirected => "misdirected",
            Self::NoRoute => "no_route",
            Self::Unauthenticated => "unauthenticated",
            Self::UnresolvedAuthentication => "unresolved_authentication",
            Self::Denied => "denied",
            Self::Limited(_) => "limited",
            Self::UnresolvedLimit => "unresolved_limit",
            Self::Loop => "loop",
            Self::NoBackend => "no_backend",
            Self::UnresolvedBackend => "unresolved_backend",
            Self::UnresolvedFilter => "unresolved_filter",
            Self::Filter => "filter",
            Self::NotAuthorized => "not_authorized",
            Self::NoEndpoint => "no_endpoint",
            Self::Unreachable => "unreachable",
            Self::TlsPolicy => "tls_policy",
            Self::Tls => "tls",
            Self::NoIdentity => "no_identity",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Protocol => "protocol",
            Self::RequestTimeout => "request_timeout",
            Self::TryTimeout => "try_timeout",
        }
    }

    /// Every word [`Self::label`] has.
    pub const LABELS: [&'static str; 37] = [
        "bad_request",
        "ambiguous_framing",
        "bad_body",
        "slow_body",
        "body_too_large",
        "connect",
        "bad_target",
        "target_too_long",
        "too_many_fields",
        "head_too_large",
        "bad_field",
        "expectation",
        "no_listener",
        "listener_closed",
        "misdirected",
        "no_route",
        "unauthenticated",
        "unresolved_authentication",
        "denied",
        "limited",
        "unresolved_limit",
        "loop",
        "no_backend",
        "unresolved_backend",
        "unresolved_filter",
        "filter",
        "not_authorized",
        "no_endpoint",
        "unreachable",
        "tls_policy",
        "tls",
        "no_identity",
        "refused",
        "broken",
        "protocol",
        "request_timeout",
        "try_timeout",
    ];

    /// The place of its label among [`Self::LABELS`].
    pub fn index(self) -> usize {
        let label = self.label();
        Self::LABELS.iter().position(|it| *it == label).unwrap_or_default()
    }

    /// The sentence for the client.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::BadRequest(BadRequest::NoHost) => "The request has no Host.\n",
            Self::BadRequest(BadRequest::ManyHosts) => "The request has more than one Host.\n",
            Self::BadRequest(BadRequest::HostsDiffer) => "The request's authority and Host differ.\n",
            Self::BadRequest(BadRequest::InvalidHost) => "The request's Host is not valid.\n",
            Self::BadRequest(BadRequest::AmbiguousPath) => {
                "The request's path can be read in more than one way.\n"
            }
            Self::Ambiguous(_) => "The request's framing can be read in more than one way.\n",
            Self::BadBody => "The request's body is malformed or incomplete.\n",
            Self::SlowBody => "The request's body came in too slowly.\n",
            Self::BodyTooLarge => "The request's body is too large.\n",
            Self::Connect => "CONNECT is not served here.\n",
            Self::BadTarget => "The request's target is neither a path nor an asterisk.\n",
            Self::TargetTooLong => "The request's target is too long.\n",
            Self::TooManyFields => "The request has too many header fields.\n",
            Self::HeadTooLarge => "The request's head is too large.\n",
            Self::BadField => "A header of the request is malformed, or can be read in more than one way.\n",
            Self::Expectation => "The request expects something that is not known here.\n",
            Self::NoListener => "No listener takes this host.\n",
            Self::ListenerClosed => "This listener is closed.\n",
            Self::Misdirected => "Another connection is needed for this host.\n",
            Self::NoRoute => "No route matches this request.\n",
            Self::Unauthenticated => "The request needs valid credentials.\n",
            Self::UnresolvedAuthentication => "An authentication cannot be carried out.\n",
            Self::Denied => "Access denied.\n",
            Self::Limited(_) => "Too many requests.\n",
            Self::UnresolvedLimit => "A limit cannot be carried out.\n",
            Self::Loop => "The request has passed this route before.\n",
            Self::NoBackend => "The route has no backend.\n",
            Self::UnresolvedBackend => "The route's backend cannot be resolved.\n",
            Self::UnresolvedFilter => "A filter cannot be carried out.\n",
            Self::Filter => "A filter answered.\n",
            Self::NotAuthorized => "The request is not authorized.\n",
            Self::NoEndpoint => "The backend has no endpoint.\n",
            Self::Unreachable => "The backend cannot be reached.\n",
            Self::TlsPolicy => "The TLS that the backend asks for cannot be set up.\n",
            Self::Tls => "The backend does not agree to the TLS it should speak.\n",
            Self::NoIdentity => "The proxy has no identity yet.\n",
            Self::Refused => "The backend refused the request.\n",
            Self::Broken => "The backend closed the connection.\n",
            Self::Protocol => "The backend's answer is not understood.\n",
            Self::RequestTimeout => "The route's time limit for the request has passed.\n",
            Self::TryTimeout => "The backend did not answer in time.\n",
        }
    }

    /// Whether the connection is of no use after the answer: what follows on it cannot be trusted or was not read.
    pub fn closes(self) -> bool {
        matches!(
            self,
            Self::BadRequest(_)
                | Self::Ambiguous(_)
                | Self::BadBody
                | Self::SlowBody
                | Self::BodyTooLarge
                | Self::Connect
                | Self::BadTarget
                | Self::TargetTooLong
                | Self::TooManyFields
                | Self::HeadTooLarge
                | Self::BadField
        )
    }

    /// The gRPC status that stands for it (the table of gRPC's own HTTP mapping, but for time limits).
    pub fn grpc_status(self) -> &'static str {
        match self {
            Self::RequestTimeout | Self::TryTimeout => "4", // DEADLINE_EXCEEDED
            Self::Denied => "7",                            // PERMISSION_DENIED
            Self::Unauthenticated => "16",                  // UNAUTHENTICATED
            Self::Limited(_) | Self::BodyTooLarge => "8",   // RESOURCE_EXHAUSTED
            // What is wrong with the route is no answer of the application, and may be mended at any moment: GRPCRoute
            // asks for UNAVAILABLE, which clients try again.
            Self::ListenerClosed
            | Self::NoBackend
            | Self::UnresolvedBackend
            | Self::UnresolvedFilter
            | Self::UnresolvedAuthentication
            | Self::UnresolvedLimit
            | Self::Filter
            | Self::TlsPolicy => "14",
            _ => match self.status().as_u16() {
                400 | 431 => "13",             // INTERNAL
                403 => "7",                    // PERMISSION_DENIED
                404 => "12",                   // UNIMPLEMENTED
                429 | 502 | 503 | 504 => "14", // UNAVAILABLE
                _ => "2",                      // UNKNOWN
            },
        }
    }
}

impl From<TooLong> for Reason {
    fn from(part: TooLong) -> Self {
        match part {
            TooLong::Target => Self::TargetTooLong,
            TooLong::Header => Self::HeadTooLarge,
        }
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unresolved | Failure::NoUrl => Self::UnresolvedFilter,
            Failure::NotAuthorized => Self::NotAuthorized,
            Failure::NoHost => Self::BadRequest(BadRequest::NoHost),
        }
    }
}
