//! Cross-origin resource sharing (Fetch standard §3.2, GEP-1767).
//!
//! The gateway's policy is the only one: what a backend says about CORS to a cross-origin request is replaced. A
//! preflight is always answered here with 204; when its origin is not allowed, without any CORS header, which makes the
//! browser give up. An `OPTIONS` request that is no preflight goes to the backend.

use super::{Kept, Position, StageRequest, StageResponse, SyncStage, Verdict};
use fairway_config::model::{CorsPolicy, OriginPattern};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

/// A CORS policy, and what was worked out of it at commit: its headers, ready to be sent.
#[derive(Debug)]
pub(super) struct Cors {
    allow_origins: Vec<OriginPattern>,
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
    /// `*`; with credentials, what the browser asked for stands in its place.
    All,
    /// Names joined by commas.
    These(HeaderValue),
}

/// What is done to the response of a request that a CORS policy looked at.
#[derive(Clone, Debug)]
pub(super) struct CorsGrant<'t> {
    policy: &'t Cors,
    /// The request's origin; none if it is no cross-origin request.
    origin: Option<Origin>,
}

/// An origin that asked.
#[derive(Clone, Debug)]
enum Origin {
    /// Allowed, and named like this to the browser.
    Allowed(HeaderValue),
    /// Not allowed: the response has no field of CORS, and the browser withholds it.
    Refused,
}

/// A scheme, the longest name of DNS and a port are shorter. What is longer is no origin, and each pattern would look at all of it.
const LONGEST_ORIGIN: usize = 512;

// === impl Cors ===

impl Cors {
    /// Works out the headers of a policy.
    pub(super) fn new(policy: &CorsPolicy) -> Self {
        let names = |it: &Option<Vec<HeaderName>>| Listed::new(it.as_deref(), HeaderName::as_str);
        Self {
            allow_origins: policy.allow_origins.clone(),
            allow_methods: Listed::new(policy.allow_methods.as_deref(), Method::as_str),
            allow_headers: names(&policy.allow_headers),
            expose_headers: names(&policy.expose_headers),
            max_age: policy.max_age.as_secs().into(),
            allow_credentials: policy.allow_credentials,
            same_for_all: !policy.allow_credentials && policy.allow_origins.contains(&OriginPattern::Any),
        }
    }

    fn origin(&self, request: &Parts) -> Option<Origin> {
        let asking = request.headers.get(header::ORIGIN);
        asking.map(|it| match it.to_str() {
            Ok(text) if text.len() > LONGEST_ORIGIN => Origin::Refused,
            Ok(_) if self.same_for_all => Origin::Allowed(HeaderValue::from_static("*")),
            Ok(text) if self.allow_origins.iter().any(|pattern| allows(pattern, text)) => {
                Origin::Allowed(it.clone())
            }
            _ => Origin::Refused,
        })
    }

    fn preflight(&self, origin: &Origin, method: &HeaderValue, request: &HeaderMap) -> StageResponse {
        let mut answer = StageResponse::empty(StatusCode::NO_CONTENT);
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

impl SyncStage for Cors {
    fn name(&self) -> &'static str {
        "cors"
    }

    fn describe(&self) -> String {
        let count = self.allow_origins.len();
        let origins = match self.allow_origins.contains(&OriginPattern::Any) {
            true => "every origin".to_owned(),
            false => format!("{count} origins"),
        };
        let credentials = if self.allow_credentials { ", with credentials" } else { "" };
        format!("answers preflights, allows {origins}{credentials}")
    }

    fn position(&self) -> Position {
        Position::Cors
    }

    fn on_request<'t>(&'t self, request: &mut StageRequest<'_, 't>) -> Verdict {
        let origin = self.origin(request.parts);
        let method = request.parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
        match (origin, method) {
            // The answer to a preflight is complete: nothing is kept, so nothing is added to it.
            (Some(origin), Some(method)) if request.parts.method == Method::OPTIONS => {
                Verdict::Respond(Box::new(self.preflight(&origin, method, &request.parts.headers)))
            }
            (origin, _) => {
                request.kept.cors = Some(CorsGrant { policy: self, origin });
                Verdict::Continue
            }
        }
    }

    fn on_response(&self, response: &mut HeaderMap, kept: &Kept<'_>) {
        if let Some(grant) = &kept.cors {
            grant.apply(response);
        }
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
