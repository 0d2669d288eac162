//! Cross-origin resource sharing (Fetch standard §3.2, GEP-1767).
//!
//! The gateway's policy is the only one: what a backend says about CORS to a cross-origin request is replaced. A
//! preflight is always answered here with 204; when its origin is not allowed, without any CORS header, which makes the
//! browser give up. An `OPTIONS` request that is no preflight goes to the backend.

use super::InvalidFilter;
use super::list::Answer;
use fairway_config::model::{CorsPolicy, Filter, OriginPattern};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

/// What was worked out of a CORS policy at commit: its answers, ready to be sent.
#[derive(Debug)]
pub struct CorsHeaders {
    allow_methods: Listed,
    allow_headers: Listed,
    expose_headers: Listed,
    max_age: HeaderValue,
    allow_credentials: bool,
    /// Whether the answer is the same for every origin, so that caches need not tell them apart.
    same_for_all: bool,
}

/// A list of names as a header's value.
#[derive(Debug)]
enum Listed {
    /// Nothing was listed: no header.
    Nothing,
    /// `*`
    All,
    /// Names joined by commas.
    These(HeaderValue),
}

/// What a policy makes of a request.
#[derive(Debug)]
pub(super) enum Decision<'t> {
    /// It is a preflight: answer it.
    Answer(Answer),
    /// It is none: let it through and do this to its response.
    Forward(CorsGrant<'t>),
}

/// What is done to the response of a request that a CORS policy looked at.
#[derive(Clone, Debug)]
pub(super) struct CorsGrant<'t> {
    policy: &'t CorsHeaders,
    /// The request's origin; none if it is no cross-origin request.
    origin: Option<Origin>,
}

/// An origin that asked.
#[derive(Clone, Debug)]
enum Origin {
    /// Allowed, and named like this to the browser.
    Allowed(HeaderValue),
    /// Not allowed.
    Refused,
}

// === impl CorsHeaders ===

impl CorsHeaders {
    /// Works out the answers of the CORS filter among these, if there is one.
    pub fn of(filters: &[Filter]) -> Result<Option<Box<Self>>, InvalidFilter> {
        let mut policies = filters.iter().filter_map(|it| match it {
            Filter::Cors(policy) => Some(policy),
            _ => None,
        });
        match (policies.next(), policies.next()) {
            (_, Some(_)) => Err(InvalidFilter::ManyCors),
            (policy, None) => Ok(policy.map(|it| Box::new(Self::new(it)))),
        }
    }

    fn new(policy: &CorsPolicy) -> Self {
        let names = |it: &Option<Vec<HeaderName>>| Listed::new(it.as_deref(), HeaderName::as_str);
        Self {
            allow_methods: Listed::new(policy.allow_methods.as_deref(), Method::as_str),
            allow_headers: names(&policy.allow_headers),
            expose_headers: names(&policy.expose_headers),
            max_age: policy.max_age.as_secs().into(),
            allow_credentials: policy.allow_credentials,
            same_for_all: !policy.allow_credentials && policy.allow_origins.contains(&OriginPattern::Any),
        }
    }

    /// Decides what to do with a request.
    pub(super) fn decide<'t>(&'t self, policy: &CorsPolicy, request: &Parts) -> Decision<'t> {
        let origin = self.origin(policy, request);
        let method = request.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
        match (origin, method) {
            (Some(origin), Some(method)) if request.method == Method::OPTIONS => {
                Decision::Answer(self.preflight(&origin, method, &request.headers))
            }
            (origin, _) => Decision::Forward(CorsGrant { policy: self, origin }),
        }
    }

    /// What is done to the proxy's own answer to a request.
    pub(super) fn grant<'t>(&'t self, policy: &CorsPolicy, request: &Parts) -> CorsGrant<'t> {
        CorsGrant { policy: self, origin: self.origin(policy, request) }
    }

    fn origin(&self, policy: &CorsPolicy, request: &Parts) -> Option<Origin> {
        let asking = request.headers.get(header::ORIGIN);
        asking.map(|it| match it.to_str() {
            Ok(_) if self.same_for_all => Origin::Allowed(HeaderValue::from_static("*")),
            Ok(text) if policy.allow_origins.iter().any(|pattern| allows(pattern, text)) => {
                Origin::Allowed(it.clone())
            }
            _ => Origin::Refused,
        })
    }

    fn preflight(&self, origin: &Origin, method: &HeaderValue, request: &HeaderMap) -> Answer {
        let mut answer = Answer::of(StatusCode::NO_CONTENT);
        let headers = &mut answer.headers;
        headers.insert(
            header::VARY,
            HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers"),
        );
        let Origin::Allowed(origin) = origin else {
            return answer;
        };
        let asked = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let listed = [
            (
                header::ACCESS_CONTROL_ALLOW_METHODS,
                self.allow_methods.value(self.allow_credentials, Some(method)),
            ),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, self.allow_headers.value(self.allow_credentials, asked)),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, self.expose_headers.value(self.allow_credentials, None)),
        ];
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.allow_credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        for (name, value) in listed {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        answer
    }
}

// === impl Listed ===

impl Listed {
    fn new<T>(names: Option<&[T]>, text: impl Fn(&T) -> &str) -> Self {
        match names {
            None => Self::All,
            Some([]) => Self::Nothing,
            Some(names) => {
                let joined = names.iter().map(text).collect::<Vec<_>>().join(", ");
                // Methods and header names are tokens, and so is every value made of them.
                HeaderValue::try_from(joined).map_or(Self::Nothing, Self::These)
            }
        }
    }

    /// The header's value. With credentials `*` means nothing to a browser (Fetch §3.2.5), so what was asked for is
    /// granted by name; if nothing was, there is no header.
    fn value(&self, with_credentials: bool, asked: Option<&HeaderValue>) -> Option<HeaderValue> {
        match self {
            Self::Nothing => None,
            Self::These(names) => Some(names.clone()),
            Self::All if with_credentials => asked.cloned(),
            Self::All => Some(HeaderValue::from_static("*")),
        }
    }
}

// === impl CorsGrant ===

impl CorsGrant<'_> {
    /// Changes a response's headers.
    pub(super) fn apply(&self, response: &mut HeaderMap) {
        if !self.policy.same_for_all {
            response.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = &self.origin else { return };
        let of_backend = [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
        ];
        for name in of_backend {
            response.remove(name);
        }
        let Origin::Allowed(origin) = origin else { return };
        response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.policy.allow_credentials {
            response.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(names) = self.policy.expose_headers.value(self.policy.allow_credentials, None) {
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
    }
}

/// Whether a pattern covers an origin. Schemes and hosts have no case, and a default port is the same as none.
fn allows(pattern: &OriginPattern, origin: &str) -> bool {
    match pattern {
        OriginPattern::Any => true,
        OriginPattern::Exact(exact) => {
            without_default_port(exact).eq_ignore_ascii_case(without_default_port(origin))
        }
        OriginPattern::Pattern(pattern) => {
            pattern.is_match(origin) || pattern.is_match(without_default_port(origin))
        }
    }
}

fn without_default_port(origin: &str) -> &str {
    let port = match origin.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => ":80",
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => ":443",
        _ => return origin,
    };
    origin.strip_suffix(port).unwrap_or(origin)
}
