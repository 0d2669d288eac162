//! Generators of routes of every kind whose fields decoding accepts.

use super::{hostname, key, name, object, port, text};
use crate::model::{
    Attachment, Audience, AuthProtocol, BackendTarget, CorsPolicy, ExternalAuth, Filter, Fraction,
    GrpcMethodMatch, HeaderMatch, HeaderModifier, HostMatch, L4Kind, L4Route, Match, Mirror, OriginPattern,
    PathMatch, PathModifier, Pattern, QueryMatch, Redirect, Retry, Route, RouteKind, Rule, Scheme, Timeouts,
    Unresolved, UrlRewrite, ValueMatch, WeightedBackend, WeightedTarget,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// A route with matches, filters and backends of every kind.
pub fn route() -> impl Strategy<Value = Route> {
    let kind = prop_oneof![Just(RouteKind::Http), Just(RouteKind::Grpc)];
    (key(), kind, object(), any::<i64>(), vec(attachment(), 1..3), vec(rule(), 0..3)).prop_map(
        |(key, kind, object, created, attachments, rules)| Route {
            key,
            kind,
            object,
            created,
            attachments,
            rules,
        },
    )
}

/// Any route for bytes or datagrams.
pub fn l4_route() -> impl Strategy<Value = L4Route> {
    let kind = prop_oneof![Just(L4Kind::Tls), Just(L4Kind::Tcp), Just(L4Kind::Udp)];
    let backend = (any::<u32>(), target()).prop_map(|(weight, target)| WeightedTarget { weight, target });
    let attachments = vec(attachment(), 1..3);
    (key(), kind, object(), any::<i64>(), attachments, of(text()), vec(backend, 0..3)).prop_map(
        |(key, kind, object, created, attachments, rule, backends)| L4Route {
            key,
            kind,
            object,
            created,
            attachments,
            rule,
            backends,
        },
    )
}

fn attachment() -> impl Strategy<Value = Attachment> {
    let host = (hostname(), hostname()).prop_map(|(effective, original)| HostMatch { effective, original });
    let audience = prop_oneof![Just(Audience::Producer), name().prop_map(Audience::Consumer)];
    prop_oneof![
        (key(), vec(host, 0..3))
            .prop_map(|(listener, hostnames)| Attachment::Listener { listener, hostnames }),
        (key(), of(port()), audience).prop_map(|(service, port, audience)| Attachment::Service {
            service,
            port,
            audience
        }),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let backend = (any::<u32>(), target(), vec(filter(), 0..2))
        .prop_map(|(weight, target, filters)| WeightedBackend { weight, target, filters });
    let timeouts = (of(any::<Duration>()), of(any::<Duration>()))
        .prop_map(|(request, backend_request)| Timeouts { request, backend_request });
    let retry = (any::<u32>(), of(any::<Duration>()), vec(status(), 0..3), any::<bool>()).prop_map(
        |(attempts, backoff, codes, connection_errors)| Retry { attempts, backoff, codes, connection_errors },
    );
    let (filters, backends) = (vec(filter(), 0..3), vec(backend, 0..3));
    let guards = (vec(key(), 0..2), vec(key(), 0..2), vec(key(), 0..2));
    (of(text()), vec(matching(), 1..3), filters, backends, timeouts, of(retry), guards).prop_map(
        |(name, matches, filters, backends, timeouts, retry, (authorizations, limits, authentications))| {
            Rule {
                name,
                matches,
                filters,
                backends,
                timeouts,
                retry,
                authorizations,
                limits,
                authentications,
            }
        },
    )
}

fn status() -> impl Strategy<Value = StatusCode> {
    (100_u16..1000).prop_filter_map("a status code", |code| StatusCode::from_u16(code).ok())
}

pub(super) fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        Just(Method::GET),
        Just(Method::DELETE),
        "[A-Z]{1,6}".prop_filter_map("a method", |it| it.parse().ok())
    ]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![Just("a|b"), Just("/v[0-9]+/.*"), Just(""), Just("(?i)é")]
        .prop_filter_map("an expression", |it| Pattern::new(it).ok())
}

fn value_match() -> impl Strategy<Value = ValueMatch> {
    prop_oneof![text().prop_map(ValueMatch::Exact), pattern().prop_map(ValueMatch::Regex)]
}

fn path_text() -> impl Strategy<Value = Arc<str>> {
    "(/[a-zé%]{1,5}){0,3}".prop_map(Arc::from)
}

pub(super) fn path() -> impl Strategy<Value = PathMatch> {
    let grpc = (of(value_match()), of(value_match()))
        .prop_map(|(service, method)| GrpcMethodMatch { service, method });
    prop_oneof![
        text().prop_map(PathMatch::Exact),
        path_text().prop_map(PathMatch::Prefix),
        pattern().prop_map(PathMatch::Regex),
        grpc.prop_map(PathMatch::Grpc),
    ]
}

pub(super) fn header_match() -> impl Strategy<Value = HeaderMatch> {
    (header_name(), value_match()).prop_map(|(name, value)| HeaderMatch { name, value })
}

fn matching() -> impl Strategy<Value = Match> {
    let query = (name(), value_match()).prop_map(|(name, value)| QueryMatch { name, value });
    (path(), vec(header_match(), 0..3), vec(query, 0..3), of(method()))
        .prop_map(|(path, headers, query, method)| Match { path, headers, query, method })
}

fn target() -> impl Strategy<Value = BackendTarget> {
    use Unresolved::{InvalidKind, NotFound, NotPermitted, UnsupportedProtocol};
    prop_oneof![
        key().prop_map(BackendTarget::Backend),
        prop_oneof![Just(NotFound), Just(NotPermitted), Just(InvalidKind), Just(UnsupportedProtocol)]
            .prop_map(BackendTarget::Unresolved),
    ]
}

pub(super) fn header_name() -> impl Strategy<Value = HeaderName> {
    "[A-Za-z][a-z-]{0,8}".prop_filter_map("a header name", |it| it.parse().ok())
}

pub(super) fn header_value() -> impl Strategy<Value = HeaderValue> {
    vec(prop_oneof![b' '..=b'~', 0x80..=0xff_u8], 0..8)
        .prop_filter_map("a header value", |it| HeaderValue::from_bytes(&it).ok())
}

pub(super) fn filter() -> impl Strategy<Value = Filter> {
    let mirror = (target(), 0..10_u32, 10..20_u32).prop_filter_map("a share", |(target, a, b)| {
        Fraction::new(a, b).map(|fraction| Mirror { target, fraction })
    });
    prop_oneof![
        headers().prop_map(Filter::RequestHeaders),
        headers().prop_map(Filter::ResponseHeaders),
        redirect().prop_map(Filter::Redirect),
        (of(header_value()), of(path_modifier()))
            .prop_map(|(hostname, path)| Filter::Rewrite(UrlRewrite { hostname, path })),
        mirror.prop_map(Filter::Mirror),
        cors().prop_map(Filter::Cors),
        external_auth().prop_map(Filter::ExternalAuth),
        text().prop_map(Filter::Unresolved),
    ]
}

fn external_auth() -> impl Strategy<Value = ExternalAuth> {
    let names = || vec(header_name(), 0..3);
    let protocol = prop_oneof![
        (of(text()), names(), names()).prop_map(|(path_prefix, request_headers, response_headers)| {
            AuthProtocol::Http { path_prefix, request_headers, response_headers }
        }),
        names().prop_map(|request_headers| AuthProtocol::Grpc { request_headers }),
    ];
    (target(), protocol).prop_map(|(target, protocol)| ExternalAuth { target, protocol })
}

fn headers() -> impl Strategy<Value = HeaderModifier> {
    let header = || (header_name(), header_value());
    (vec(header(), 0..3), vec(header(), 0..3), vec(header_name(), 0..3))
        .prop_map(|(set, add, remove)| HeaderModifier { set, add, remove })
}

fn path_modifier() -> impl Strategy<Value = PathModifier> {
    prop_oneof![text().prop_map(PathModifier::ReplaceFull), text().prop_map(PathModifier::ReplacePrefix)]
}

fn redirect() -> impl Strategy<Value = Redirect> {
    let scheme = prop_oneof![Just(Scheme::Http), Just(Scheme::Https)];
    let status = prop_oneof![
        Just(StatusCode::MOVED_PERMANENTLY),
        Just(StatusCode::FOUND),
        Just(StatusCode::SEE_OTHER)
    ];
    (of(scheme), of(name()), of(path_modifier()), of(port()), status)
        .prop_map(|(scheme, hostname, path, port, status)| Redirect { scheme, hostname, path, port, status })
}

fn cors() -> impl Strategy<Value = CorsPolicy> {
    let origin = prop_oneof![
        Just(OriginPattern::Any),
        name().prop_map(OriginPattern::Exact),
        pattern().prop_map(OriginPattern::Pattern),
    ];
    (
        vec(origin, 0..3),
        any::<bool>(),
        of(vec(method(), 0..3)),
        of(vec(header_name(), 0..3)),
        of(vec(header_name(), 0..3)),
        any::<Duration>(),
    )
        .prop_map(
            |(allow_origins, allow_credentials, allow_methods, allow_headers, expose_headers, max_age)| {
                CorsPolicy {
                    allow_origins,
                    allow_credentials,
                    allow_methods,
                    allow_headers,
                    expose_headers,
                    max_age,
                }
            },
        )
}
