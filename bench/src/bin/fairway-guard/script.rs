//! What is asked, and the configuration that serves it.

use clap::ValueEnum;
use fairway_config::model::{
    AppProtocol, Attachment, Backend, BackendSecurity, BackendTarget, CorsPolicy, Endpoint, EndpointState,
    Endpoints, Filter, HeaderModifier, Listener, ListenerProtocol, Match, ObjectName, OriginPattern,
    PathMatch, PathModifier, Redirect, Resource, Retry, Route, RouteKind, Rule, Timeouts, UrlRewrite,
    WeightedBackend,
};
use http::{HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// What is asked.
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
    /// A cross-origin request.
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
        let listener = Listener {
            key: LISTENER.into(),
            gateway: ObjectName::new("shop", "gateway"),
            section: "web".into(),
            addresses: vec![],
            port: 80,
            hostname: None,
            protocol: ListenerProtocol::Http,
            backend_certificate: None,
            authorizations: vec![],
        };
        let rules = vec![rule("/cart"), body(), filters(), cors(), redirect()];
        let route = Route {
            key: "HTTPRoute/shop/web".into(),
            kind: RouteKind::Http,
            object: ObjectName::new("shop", "web"),
            created: 0,
            attachments: vec![Attachment::Listener { listener: LISTENER.into(), hostnames: vec![] }],
            rules,
        };
        let mut resources = vec![Resource::Listener(Arc::new(listener)), Resource::Route(Arc::new(route))];
        for (backend, host) in [("shop/web:80", 1), ("shop/canary:80", 2)] {
            resources.extend(backend_with_endpoint(backend, host));
        }
        resources
    }
}

fn backend_with_endpoint(key: &str, host: u8) -> [Resource; 2] {
    let backend = Backend {
        key: key.into(),
        service: key.trim_end_matches(":80").into(),
        port: 80,
        protocol: AppProtocol::Http1,
        security: BackendSecurity::Plain,
        via: None,
        authorizations: vec![],
    };
    let endpoint = Endpoint {
        address: ([10, 0, 0, host], 80).into(),
        state: EndpointState::Ready,
        identity: None,
        node: None,
        hints: None,
    };
    [
        Resource::Backend(Arc::new(backend)),
        Resource::Endpoints(Arc::new(Endpoints::of_anybody(key.into(), vec![endpoint]))),
    ]
}

/// Everything under a prefix to one backend.
fn rule(prefix: &str) -> Rule {
    Rule {
        name: None,
        matches: vec![Match {
            path: PathMatch::Prefix(prefix.into()),
            headers: vec![],
            query: vec![],
            method: None,
        }],
        filters: vec![],
        backends: vec![to(1, "shop/web:80")],
        timeouts: Timeouts::default(),
        retry: None,
        authorizations: vec![],
    }
}

fn to(weight: u32, backend: &str) -> WeightedBackend {
    WeightedBackend { weight, target: BackendTarget::Backend(backend.into()), filters: vec![] }
}

fn set(name: &'static str) -> HeaderModifier {
    HeaderModifier {
        set: vec![(HeaderName::from_static(name), HeaderValue::from_static("1"))],
        add: vec![],
        remove: vec![HeaderName::from_static("accept-language")],
    }
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
        ..rule("/body")
    }
}

/// Weights, so that a backend is drawn; both do the same, so that every request costs the same.
fn filters() -> Rule {
    let modified =
        || vec![Filter::RequestHeaders(set("x-backend")), Filter::ResponseHeaders(set("x-from-backend"))];
    let backends = [(9, "shop/web:80"), (1, "shop/canary:80")];
    Rule {
        filters: vec![
            Filter::RequestHeaders(set("x-rule")),
            Filter::ResponseHeaders(set("x-from-rule")),
            Filter::Rewrite(UrlRewrite {
                hostname: Some(HeaderValue::from_static("internal.example")),
                path: Some(PathModifier::ReplacePrefix("/v2".into())),
            }),
        ],
        backends: backends
            .map(|(weight, backend)| WeightedBackend { filters: modified(), ..to(weight, backend) })
            .into(),
        ..rule("/filters")
    }
}

fn cors() -> Rule {
    let policy = CorsPolicy {
        allow_origins: vec![OriginPattern::Exact("https://shop.example".into())],
        allow_credentials: true,
        allow_methods: None,
        allow_headers: None,
        expose_headers: Some(vec![HeaderName::from_static("x-total")]),
        max_age: Duration::from_secs(60),
    };
    Rule { filters: vec![Filter::Cors(policy)], ..rule("/cors") }
}

fn redirect() -> Rule {
    let redirect = Redirect {
        scheme: None,
        hostname: Some("www.shop.example".into()),
        path: Some(PathModifier::ReplacePrefix("/new".into())),
        port: None,
        status: StatusCode::FOUND,
    };
    Rule { filters: vec![Filter::Redirect(redirect)], backends: vec![], ..rule("/redirect") }
}
