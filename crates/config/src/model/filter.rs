//! What a rule does to a request and its response.

use super::validity::{InvalidFilter, check_hostname};
use super::{BackendTarget, Pattern};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// One filter; they run in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Changes the request's headers.
    RequestHeaders(HeaderModifier),
    /// Changes the response's headers.
    ResponseHeaders(HeaderModifier),
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Changes the host or path sent on.
    Rewrite(UrlRewrite),
    /// Sends a copy elsewhere and ignores the answer.
    Mirror(Mirror),
    /// Answers preflights and says to browsers which other sites may call (CORS).
    Cors(CorsPolicy),
    /// Asks another service whether a request may pass.
    ExternalAuth(ExternalAuth),
    /// A filter the controller could not resolve; the request is answered with 500 (the API's rule for them).
    Unresolved(Arc<str>),
    /// A filter of a newer controller, as it came: this program does not know what it does. The request is answered with 500,
    /// since the filter may be what guards it.
    Unknown(Bytes),
}

/// The filters that a proxy carries out: the name of each as a capability (it never changes), and whether proxies of the first edition
/// have it.
macro_rules! for_each_filter {
    ($then:ident) => {
        $then! {
            filters {
                RequestHeaders = "filter.request-headers", First;
                ResponseHeaders = "filter.response-headers", First;
                Redirect = "filter.redirect", First;
                Rewrite = "filter.rewrite", First;
                Mirror = "filter.mirror", First;
                Cors = "filter.cors", First;
                ExternalAuth = "filter.external-auth", Later;
            }
        }
    };
}
pub(super) use for_each_filter;

/// Headers to remove, set and add, applied in that order.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HeaderModifier {
    /// Replace what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Append to what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Names of headers that are taken away, however often they stand.
    pub remove: Vec<HeaderName>,
}

/// A redirect; absent parts stay as the request has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// The scheme of the Location.
    pub scheme: Option<Scheme>,
    /// The host of the Location.
    pub hostname: Option<Arc<str>>,
    /// The path of the Location.
    pub path: Option<PathModifier>,
    /// The port of the Location; the API's defaulting rules apply when it is absent.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`, whose default port is 80.
    Http,
    /// `https`, whose default port is 443.
    Https,
}

/// How a path is replaced; the query stays.
#[derive(Clone, Debug, PartialEq)]
pub enum PathModifier {
    /// This text stands for the whole path.
    ReplaceFull(Arc<str>),
    /// This text stands for the prefix that the rule matched; the rest of the path stays.
    ReplacePrefix(Arc<str>),
}

/// What is sent on instead of what came.
#[derive(Clone, Debug, PartialEq)]
pub struct UrlRewrite {
    /// The Host header sent on.
    pub hostname: Option<HeaderValue>,
    /// The path sent on.
    pub path: Option<PathModifier>,
}

/// A copy of the request for another backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// Who gets the copy.
    pub target: BackendTarget,
    /// The share of requests that is copied.
    pub fraction: Fraction,
}

/// A share `numerator / denominator`, at most 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    numerator: u32,
    denominator: u32,
}

/// CORS as the Gateway API has it (GEP-1767).
#[derive(Clone, Debug, PartialEq)]
pub struct CorsPolicy {
    /// Origins that may call.
    pub allow_origins: Vec<OriginPattern>,
    /// Whether credentials may be sent.
    pub allow_credentials: bool,
    /// Methods that may be used; `None` stands for `*`.
    pub allow_methods: Option<Vec<Method>>,
    /// Request headers that may be used; `None` stands for `*`.
    pub allow_headers: Option<Vec<HeaderName>>,
    /// Response headers a script may see; `None` stands for `*`.
    pub expose_headers: Option<Vec<HeaderName>>,
    /// How long a preflight's answer may be kept.
    pub max_age: Duration,
}

/// Which origins may read responses in a browser (CORS, the Fetch standard).
#[derive(Clone, Debug, PartialEq)]
pub enum OriginPattern {
    /// Every origin, `*`. With credentials the browser is told the origin that asked: it accepts no `*` then.
    Any,
    /// This origin, such as `https://www.example.com`.
    Exact(Arc<str>),
    /// An origin with a `*` somewhere in its host, as an expression.
    Pattern(Pattern),
}

/// External authorization (GEP-1494). A request passes only if the service allows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalAuth {
    /// The service that is asked.
    pub target: BackendTarget,
    /// How it is asked.
    pub protocol: AuthProtocol,
}

/// How an authorization service is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthProtocol {
    /// By the request's head. The status 200 allows; every other response goes to the client.
    Http {
        /// Stands before the request's path.
        path_prefix: Option<Arc<str>>,
        /// Request headers that the service gets beside Host and Authorization.
        request_headers: Vec<HeaderName>,
        /// Headers of the service's response that the backend gets; if there are none, all of them.
        response_headers: Vec<HeaderName>,
    },
    /// By Envoy's gRPC protocol, `envoy.service.auth.v3.Authorization/Check`.
    Grpc {
        /// Request headers that the service gets; if there are none, all of them.
        request_headers: Vec<HeaderName>,
    },
}

// === impl Filter ===

impl Filter {
    /// The backend that the filter sends requests to, beside the backend of the rule.
    pub fn target(&self) -> Option<&BackendTarget> {
        match self {
            Self::Mirror(mirror) => Some(&mirror.target),
            Self::ExternalAuth(auth) => Some(&auth.target),
            _ => None,
        }
    }

    /// Whether it changes responses, those of the proxy itself too. A rule that cannot be carried out keeps these filters: a browser is
    /// shown the error, and not a failure of CORS in its place.
    pub fn acts_on_responses(&self) -> bool {
        matches!(self, Self::Cors(_) | Self::ResponseHeaders(_))
    }

    /// Whether it can be served.
    pub fn check(&self) -> Result<(), InvalidFilter> {
        let path = match self {
            Self::RequestHeaders(it) | Self::ResponseHeaders(it) => return it.check(),
            Self::Redirect(it) => {
                it.hostname.as_deref().map_or(Ok(()), check_hostname)?;
                &it.path
            }
            Self::Rewrite(it) => {
                if let Some(name) = &it.hostname {
                    let name = name.to_str().map_err(|_| InvalidFilter::Hostname(format!("{name:?}")))?;
                    check_hostname(name)?;
                }
                &it.path
            }
            Self::ExternalAuth(it) => return it.protocol.check(),
            _ => return Ok(()),
        };
        Ok(path.as_ref().map_or(Ok(()), PathModifier::check)?)
    }

    /// Whether it can be served at a listener, before a route is matched. What nobody knows may stand there, and answers.
    pub(super) fn check_before_route(&self) -> Result<(), InvalidFilter> {
        match self {
            Self::ExternalAuth(_) | Self::Unresolved(_) | Self::Unknown(_) => self.check(),
            _ => Err(InvalidFilter::NotOfListener),
        }
    }
}

// === impl Fraction ===

impl Fraction {
    /// The whole: every request.
    pub const ALL: Self = Self { numerator: 1, denominator: 1 };

    /// A share; `None` when it is no share (zero denominator, more than the whole).
    pub fn new(numerator: u32, denominator: u32) -> Option<Self> {
        (denominator > 0 && numerator <= denominator).then_some(Self { numerator, denominator })
    }

    /// How many of `denominator` requests are meant; at most as many.
    pub fn numerator(self) -> u32 {
        self.numerator
    }

    /// The lower part, never 0.
    pub fn denominator(self) -> u32 {
        self.denominator
    }
}
