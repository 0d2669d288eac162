//! What is asked, and the configuration that serves it.

use clap::ValueEnum;
use fairway_config::model::{
    AppProtocol, CorsPolicy, Filter, HeaderModifier, OriginPattern, PathModifier, Redirect, Resource, Retry,
    Rule, Timeouts, UrlRewrite, WeightedBackend,
};
use fairway_waypoint::testing::{self, rule, to};
use http::{HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// What the client asks and what the rule does; the names are the keys of `bench/guard.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Script {
    /// A rule without filters.
    Plain,
    /// The same for a client that speaks HTTP/2.
    Http2,
    /// A body, and a rule that tries again and has time limits.
    Body,
    /// Headers of request and response are changed and the path is rewritten, by the rule and by one of two backends.
    Filters,
    /// A cross-origin request that the policy allows: it goes to the backend.
    Cors,
    /// A preflight, answered by the proxy.
    Preflight,
    /// A redirect, answered by the proxy.
    Redirect,
    /// A request that no rule takes.
    NoRoute,
}

/// Bytes of the body that [`Script::Body`] sends.
pub const BODY: usize = 1024;

/// Headers that every request has.
pub const HEADERS: [(&str, &str); 6] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("cookie", "session=0123456789abcdef; theme=dark"),
    ("x-request-id", "5f1c8a52-8f0e-4d7a-b6cd-0d2b7f1f8a11"),
];

const LISTENER: &str = "shop/gateway/web";
const WEB: &str = "shop/web:80";

// === impl Script ===

impl Script {
    /// The bytes of one request over HTTP/1.1.
    pub fn request(self) -> Vec<u8> {
        let (method, path, more) = match self {
            Self::Plain | Self::Http2 => ("GET", "/cart?item=7", ""),
            Self::Body => ("POST", "/body", "content-length: 1024\r\n"),
            Self::Filters => ("GET", "/filters/a?item=7", ""),
            Self::Cors => ("GET", "/cors", "origin: https://shop.example\r\n"),
            Self::Preflight => {
                ("OPTIONS", "/cors", "origin: https://shop.example\r\naccess-control-request-method: PUT\r\n")
            }
            Self::Redirect => ("GET", "/redirect/a?item=7", ""),
            Self::NoRoute => ("GET", "/nowhere", ""),
        };
        let headers: String = HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: shop.example\r\n{headers}{more}\r\n").into_bytes();
        if self == Self::Body {
            request.extend([b'x'; BODY]);
        }
        request
    }

    /// How its response begins.
    pub fn status(self) -> &'static str {
        match self {
            Self::Plain | Self::Http2 | Self::Body | Self::Filters | Self::Cors => "HTTP/1.1 200",
            Self::Preflight => "HTTP/1.1 204",
            Self::Redirect => "HTTP/1.1 302",
            Self::NoRoute => "HTTP/1.1 404",
        }
    }

    /// The configuration that serves it; the same for all scripts.
    pub fn configuration(self) -> Vec<Resource> {
        let rules = vec![rule("/cart", WEB), body(), filters(), cors(), redirect()];
        let mut resources = vec![
            Resource::Listener(Arc::new(testing::listener(LISTENER))),
            Resource::Route(Arc::new(testing::route("web", LISTENER, rules))),
        ];
        for (key, host) in [(WEB, 1), ("shop/canary:80", 2)] {
            resources.extend(testing::backend(key, AppProtocol::Http1, &[testing::endpoint(host)]));
        }
        resources
    }
}

fn modifier(name: &'static str) -> HeaderModifier {
    HeaderModifier { remove: vec![HeaderName::from_static("accept-language")], ..testing::set(name, "1") }
}

fn body() -> Rule {
    let seconds = Duration::from_secs;
    Rule {
        timeouts: Timeouts { request: Some(seconds(10)), backend_request: Some(seconds(5)) },
        retry: Some(Retry {
            attempts: 2,
            backoff: None,
            codes: vec![StatusCode::SERVICE_UNAVAILABLE],
            connection_errors: true,
        }),
        ..rule("/body", WEB)
    }
}

/// Weights, so that a backend is drawn; both do the same, so that every request costs the same.
fn filters() -> Rule {
    let modified = || {
        vec![
            Filter::RequestHeaders(modifier("x-backend")),
            Filter::ResponseHeaders(modifier("x-from-backend")),
        ]
    };
    let backends = [(9, WEB), (1, "shop/canary:80")];
    Rule {
        filters: vec![
            Filter::RequestHeaders(modifier("x-rule")),
            Filter::ResponseHeaders(modifier("x-from-rule")),
            Filter::Rewrite(UrlRewrite {
                hostname: Some(HeaderValue::from_static("internal.example")),
                path: Some(PathModifier::ReplacePrefix("/v2".into())),
            }),
        ],
        backends: backends
            .map(|(weight, backend)| WeightedBackend { filters: modified(), ..to(weight, backend) })
            .into(),
        ..rule("/filters", WEB)
    }
}

fn cors() -> Rule {
    let policy = CorsPolicy {
        allow_credentials: true,
        expose_headers: Some(vec![HeaderName::from_static("x-total")]),
        max_age: Duration::from_secs(60),
        ..testing::cors(OriginPattern::Exact("https://shop.example".into()))
    };
    Rule { filters: vec![Filter::Cors(policy)], ..rule("/cors", WEB) }
}

fn redirect() -> Rule {
    let path = Some(PathModifier::ReplacePrefix("/new".into()));
    let redirect = Redirect { path, ..testing::redirect("www.shop.example") };
    Rule { filters: vec![Filter::Redirect(redirect)], backends: vec![], ..rule("/redirect", WEB) }
}
