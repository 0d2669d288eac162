//! What was written, in one form for every kind of route and every place in it. (The generated types of a rule's filters
//! and of a backend's, of an HTTPRoute and of a GRPCRoute are alike but not the same.)

use super::budget;
use crate::compile::gateway::external_auth::{
    WrittenAuthProtocol, WrittenExternalAuth, WrittenHttpAuth, external_auth,
};
pub(super) use crate::compile::names::backend::{WrittenRef, reference};
use crate::compile::program::Reader;
use crate::resources::{GrpcRoute, HttpRoute, Kind, Meta, ObjectRef, TcpRoute, TlsRoute, UdpRoute};
use crate::status::ParentRef;
use fairway_config::model::Scheme;
use fairway_gateway_api::grpcroutes as grpc;
use fairway_gateway_api::httproutes as http;
use fairway_gateway_api::tcproutes as tcp;
use fairway_gateway_api::tlsroutes as tls;
use fairway_gateway_api::udproutes as udp;
use std::sync::Arc;

/// A route of any kind.
pub(in crate::compile) enum Written {
    Http(Arc<HttpRoute>),
    Grpc(Arc<GrpcRoute>),
    Tls(Arc<TlsRoute>),
    Tcp(Arc<TcpRoute>),
    Udp(Arc<UdpRoute>),
}

/// A filter of an HTTPRoute or a GRPCRoute, without the generated types of either.
#[derive(Debug)]
pub(super) enum WrittenFilter<'a> {
    RequestHeaders(WrittenHeaders<'a>),
    ResponseHeaders(WrittenHeaders<'a>),
    Mirror(WrittenMirror<'a>),
    Redirect(WrittenRedirect<'a>),
    Rewrite(WrittenRewrite<'a>),
    Cors(WrittenCors<'a>),
    ExternalAuth(WrittenExternalAuth<'a>),
    Extension {
        group: &'a str,
        kind: &'a str,
        name: &'a str,
    },
    /// A type without the part that says what to do.
    Empty,
}

#[derive(Debug)]
pub(super) struct WrittenHeaders<'a> {
    pub set: Vec<(&'a str, &'a str)>,
    pub add: Vec<(&'a str, &'a str)>,
    pub remove: &'a [String],
}

#[derive(Debug)]
pub(super) struct WrittenMirror<'a> {
    pub target: WrittenRef<'a>,
    pub percent: Option<i32>,
    pub fraction: Option<(i32, Option<i32>)>,
}

#[derive(Debug)]
pub(super) enum WrittenPath<'a> {
    Full(Option<&'a str>),
    Prefix(Option<&'a str>),
}

#[derive(Debug)]
pub(super) struct WrittenRedirect<'a> {
    pub scheme: Option<Scheme>,
    pub hostname: Option<&'a str>,
    pub path: Option<WrittenPath<'a>>,
    pub port: Option<i32>,
    pub status: Option<i64>,
}

#[derive(Debug)]
pub(super) struct WrittenRewrite<'a> {
    pub hostname: Option<&'a str>,
    pub path: Option<WrittenPath<'a>>,
}

#[derive(Debug)]
pub(super) struct WrittenCors<'a> {
    pub origins: &'a [String],
    pub credentials: bool,
    pub methods: &'a [String],
    pub headers: &'a [String],
    pub expose: &'a [String],
    pub max_age: Option<i32>,
}

// === impl Written ===

impl Written {
    pub(in crate::compile) fn read(reader: &mut Reader<'_>, route: &ObjectRef) -> Option<Self> {
        match route.kind {
            Kind::HttpRoute => reader.input::<HttpRoute>(&route.object_name()).map(Self::Http),
            Kind::GrpcRoute => reader.input::<GrpcRoute>(&route.object_name()).map(Self::Grpc),
            Kind::TlsRoute => reader.input::<TlsRoute>(&route.object_name()).map(Self::Tls),
            Kind::TcpRoute => reader.input::<TcpRoute>(&route.object_name()).map(Self::Tcp),
            Kind::UdpRoute => reader.input::<UdpRoute>(&route.object_name()).map(Self::Udp),
            _ => None,
        }
    }

    pub(in crate::compile) fn meta(&self) -> &Meta {
        match self {
            Self::Http(it) => &it.meta,
            Self::Grpc(it) => &it.meta,
            Self::Tls(it) => &it.meta,
            Self::Tcp(it) => &it.meta,
            Self::Udp(it) => &it.meta,
        }
    }

    /// Whether there are regular expressions in it.
    pub(super) fn has_expressions(&self) -> bool {
        match self {
            Self::Http(it) => budget::of_http(&it.spec).next().is_some(),
            Self::Grpc(it) => budget::of_grpc(&it.spec).next().is_some(),
            Self::Tls(_) | Self::Tcp(_) | Self::Udp(_) => false,
        }
    }

    pub(in crate::compile) fn hostnames(&self) -> &[String] {
        match self {
            Self::Http(it) => it.spec.hostnames.as_deref().unwrap_or_default(),
            Self::Grpc(it) => it.spec.hostnames.as_deref().unwrap_or_default(),
            Self::Tls(it) => &it.spec.hostnames,
            Self::Tcp(_) | Self::Udp(_) => &[],
        }
    }

    /// Whether it attaches to the Gateways that are default Gateways (GEP-3793).
    pub(in crate::compile) fn uses_default_gateways(&self) -> bool {
        match self {
            Self::Http(it) => it.spec.use_default_gateways == Some(http::HttpRouteUseDefaultGateways::All),
            Self::Grpc(it) => it.spec.use_default_gateways == Some(grpc::GrpcRouteUseDefaultGateways::All),
            Self::Tls(it) => it.spec.use_default_gateways == Some(tls::TlsRouteUseDefaultGateways::All),
            Self::Tcp(it) => it.spec.use_default_gateways == Some(tcp::TcpRouteUseDefaultGateways::All),
            Self::Udp(it) => it.spec.use_default_gateways == Some(udp::UdpRouteUseDefaultGateways::All),
        }
    }

    pub(in crate::compile) fn parents(&self) -> Vec<ParentRef> {
        macro_rules! parents {
            ($refs:expr) => {
                $refs
                    .iter()
                    .flatten()
                    .map(|it| ParentRef {
                        group: it.group.as_deref().map(Into::into),
                        kind: it.kind.as_deref().map(Into::into),
                        namespace: it.namespace.as_deref().filter(|it| !it.is_empty()).map(Into::into),
                        name: it.name.as_str().into(),
                        section_name: it.section_name.as_deref().filter(|it| !it.is_empty()).map(Into::into),
                        port: it.port,
                    })
                    .collect()
            };
        }
        match self {
            Self::Http(it) => parents!(it.spec.parent_refs),
            Self::Grpc(it) => parents!(it.spec.parent_refs),
            Self::Tls(it) => parents!(it.spec.parent_refs),
            Self::Tcp(it) => parents!(it.spec.parent_refs),
            Self::Udp(it) => parents!(it.spec.parent_refs),
        }
    }
}

macro_rules! headers {
    ($it:expr) => {
        WrittenHeaders {
            set: $it.set.iter().flatten().map(|it| (it.name.as_str(), it.value.as_str())).collect(),
            add: $it.add.iter().flatten().map(|it| (it.name.as_str(), it.value.as_str())).collect(),
            remove: $it.remove.as_deref().unwrap_or_default(),
        }
    };
}

macro_rules! mirror {
    ($it:expr) => {
        WrittenMirror {
            target: reference!($it.backend_ref),
            percent: $it.percent,
            fraction: $it.fraction.as_ref().map(|it| (it.numerator, it.denominator)),
        }
    };
}

macro_rules! path {
    ($it:expr, $types:ident) => {
        match $it.r#type {
            http::$types::ReplaceFullPath => WrittenPath::Full($it.replace_full_path.as_deref()),
            http::$types::ReplacePrefixMatch => WrittenPath::Prefix($it.replace_prefix_match.as_deref()),
        }
    };
}

macro_rules! http_filter {
    ($name:ident, $filter:ident, $types:ident, $scheme:ident, $redirect_path:ident, $rewrite_path:ident, $auth:ident) => {
        /// One filter of an HTTPRoute.
        pub(super) fn $name(it: &http::$filter) -> WrittenFilter<'_> {
            use http::$types as Type;
            let part = match it.r#type {
                Type::RequestHeaderModifier => {
                    it.request_header_modifier.as_ref().map(|it| WrittenFilter::RequestHeaders(headers!(it)))
                }
                Type::ResponseHeaderModifier => it
                    .response_header_modifier
                    .as_ref()
                    .map(|it| WrittenFilter::ResponseHeaders(headers!(it))),
                Type::RequestMirror => {
                    it.request_mirror.as_ref().map(|it| WrittenFilter::Mirror(mirror!(it)))
                }
                Type::RequestRedirect => it.request_redirect.as_ref().map(|it| {
                    WrittenFilter::Redirect(WrittenRedirect {
                        scheme: it.scheme.as_ref().map(|it| match it {
                            http::$scheme::Http => Scheme::Http,
                            http::$scheme::Https => Scheme::Https,
                        }),
                        hostname: it.hostname.as_deref(),
                        path: it.path.as_ref().map(|it| path!(it, $redirect_path)),
                        port: it.port,
                        status: it.status_code,
                    })
                }),
                Type::UrlRewrite => it.url_rewrite.as_ref().map(|it| {
                    WrittenFilter::Rewrite(WrittenRewrite {
                        hostname: it.hostname.as_deref(),
                        path: it.path.as_ref().map(|it| path!(it, $rewrite_path)),
                    })
                }),
                Type::Cors => it.cors.as_ref().map(|it| {
                    WrittenFilter::Cors(WrittenCors {
                        origins: it.allow_origins.as_deref().unwrap_or_default(),
                        credentials: it.allow_credentials.unwrap_or_default(),
                        methods: it.allow_methods.as_deref().unwrap_or_default(),
                        headers: it.allow_headers.as_deref().unwrap_or_default(),
                        expose: it.expose_headers.as_deref().unwrap_or_default(),
                        max_age: it.max_age,
                    })
                }),
                Type::ExtensionRef => it.extension_ref.as_ref().map(|it| WrittenFilter::Extension {
                    group: &it.group,
                    kind: &it.kind,
                    name: &it.name,
                }),
                Type::ExternalAuth => it
                    .external_auth
                    .as_ref()
                    .map(|it| WrittenFilter::ExternalAuth(external_auth!(it, http::$auth))),
            };
            part.unwrap_or(WrittenFilter::Empty)
        }
    };
}

http_filter!(
    http_rule_filter,
    HttpRouteRulesFilters,
    HttpRouteRulesFiltersType,
    HttpRouteRulesFiltersRequestRedirectScheme,
    HttpRouteRulesFiltersRequestRedirectPathType,
    HttpRouteRulesFiltersUrlRewritePathType,
    HttpRouteRulesFiltersExternalAuthProtocol
);
http_filter!(
    http_backend_filter,
    HttpRouteRulesBackendRefsFilters,
    HttpRouteRulesBackendRefsFiltersType,
    HttpRouteRulesBackendRefsFiltersRequestRedirectScheme,
    HttpRouteRulesBackendRefsFiltersRequestRedirectPathType,
    HttpRouteRulesBackendRefsFiltersUrlRewritePathType,
    HttpRouteRulesBackendRefsFiltersExternalAuthProtocol
);

macro_rules! grpc_filter {
    ($name:ident, $filter:ident, $types:ident) => {
        /// One filter of a GRPCRoute.
        pub(super) fn $name(it: &grpc::$filter) -> WrittenFilter<'_> {
            use grpc::$types as Type;
            let part = match it.r#type {
                Type::RequestHeaderModifier => {
                    it.request_header_modifier.as_ref().map(|it| WrittenFilter::RequestHeaders(headers!(it)))
                }
                Type::ResponseHeaderModifier => it
                    .response_header_modifier
                    .as_ref()
                    .map(|it| WrittenFilter::ResponseHeaders(headers!(it))),
                Type::RequestMirror => {
                    it.request_mirror.as_ref().map(|it| WrittenFilter::Mirror(mirror!(it)))
                }
                Type::ExtensionRef => it.extension_ref.as_ref().map(|it| WrittenFilter::Extension {
                    group: &it.group,
                    kind: &it.kind,
                    name: &it.name,
                }),
            };
            part.unwrap_or(WrittenFilter::Empty)
        }
    };
}

grpc_filter!(grpc_rule_filter, GrpcRouteRulesFilters, GrpcRouteRulesFiltersType);
grpc_filter!(grpc_backend_filter, GrpcRouteRulesBackendRefsFilters, GrpcRouteRulesBackendRefsFiltersType);
