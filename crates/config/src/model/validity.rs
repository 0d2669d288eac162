//! What a filter may not ask for. The controller says it in the status of the route, with the functions with which a proxy
//! refuses it.

use super::path::{InvalidPath, check_replacement};
use super::{
    AuthProtocol, Filter, HeaderModifier, HostnamePattern, Listener, ListenerProtocol, PathModifier, Route,
    Rule,
};
use http::header::{self, HeaderName};

/// A filter that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// Framing and routing are the proxy's: a route that changes these headers could smuggle requests.
    #[error("header `{0}` belongs to the connection and cannot be changed by a filter")]
    ConnectionHeader(HeaderName),
    /// The Host is changed by URLRewrite.
    #[error("the Host is changed with a URLRewrite filter, not with a header modifier")]
    Host,
    /// The API allows one.
    #[error("a rule or backend has at most one CORS filter")]
    ManyCors,
    /// Those of a listener are about requests (GEP-5224).
    #[error("a listener has filters only for HTTP and HTTPS")]
    NoRequests,
    /// A listener's filters run before a route is matched. What needs a route, or a response, stands in a rule.
    #[error("a filter of this type cannot stand at a listener")]
    NotOfListener,
    /// What replaces a path.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// What replaces a host.
    #[error("`{0}` is not the name of a host: it takes DNS labels joined by dots")]
    Hostname(String),
}

/// Headers of one connection, not of the message (RFC 9110 §7.6.1), and those that say where a body ends.
const OF_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Whether a header modifier may set, add or remove a header.
pub fn check_header(name: &HeaderName) -> Result<(), InvalidFilter> {
    match name {
        _ if OF_CONNECTION.contains(name) => Err(InvalidFilter::ConnectionHeader(name.clone())),
        &header::HOST => Err(InvalidFilter::Host),
        _ => Ok(()),
    }
}

/// Whether a host may take the place of a request's: a precise name, or an address of IPv4, as the API has it.
pub fn check_hostname(name: &str) -> Result<(), InvalidFilter> {
    match name.parse() {
        Ok(HostnamePattern::Exact(_)) => Ok(()),
        Ok(HostnamePattern::Wildcard(_)) | Err(_) => Err(InvalidFilter::Hostname(name.to_owned())),
    }
}

/// Whether filters can stand together in one rule or backend.
pub fn check_together(filters: &[Filter]) -> Result<(), InvalidFilter> {
    match filters.iter().filter(|it| matches!(it, Filter::Cors(_))).count() {
        0 | 1 => Ok(()),
        _ => Err(InvalidFilter::ManyCors),
    }
}

// === impl HeaderModifier ===

impl HeaderModifier {
    /// Whether it leaves alone what is not its own.
    pub fn check(&self) -> Result<(), InvalidFilter> {
        let set_or_added = self.set.iter().chain(&self.add).map(|(name, _)| name);
        set_or_added.chain(&self.remove).try_for_each(check_header)
    }
}

// === impl PathModifier ===

impl PathModifier {
    /// Whether every path it makes is one.
    pub fn check(&self) -> Result<(), InvalidPath> {
        let (Self::ReplaceFull(path) | Self::ReplacePrefix(path)) = self;
        check_replacement(path)
    }
}

// === impl AuthProtocol ===

impl AuthProtocol {
    /// Whether the service can be asked like this. Headers of a connection are nobody else's, and no service may change the Host.
    pub fn check(&self) -> Result<(), InvalidFilter> {
        let of_request = |name: &HeaderName| if *name == header::HOST { Ok(()) } else { check_header(name) };
        match self {
            Self::Http { path_prefix, request_headers, response_headers } => {
                path_prefix.as_deref().map_or(Ok(()), check_replacement)?;
                request_headers.iter().try_for_each(of_request)?;
                response_headers.iter().try_for_each(check_header)
            }
            Self::Grpc { request_headers } => request_headers.iter().try_for_each(of_request),
        }
    }
}

// === impl Listener ===

impl Listener {
    /// Whether a proxy can carry out its filters.
    pub fn check(&self) -> Result<(), InvalidFilter> {
        let has_requests = matches!(self.protocol, ListenerProtocol::Http | ListenerProtocol::Https(_));
        match self.filters.as_slice() {
            [] => Ok(()),
            _ if !has_requests => Err(InvalidFilter::NoRequests),
            filters => filters.iter().try_for_each(Filter::check_before_route),
        }
    }
}

// === impl Route ===

impl Route {
    /// Whether a proxy can serve it. What the controller compiles can be.
    pub fn check(&self) -> Result<(), InvalidFilter> {
        self.rules.iter().try_for_each(Rule::check)
    }
}

// === impl Rule ===

impl Rule {
    /// Whether a proxy can serve it.
    pub fn check(&self) -> Result<(), InvalidFilter> {
        let lists = [&self.filters].into_iter().chain(self.backends.iter().map(|it| &it.filters));
        for filters in lists {
            filters.iter().try_for_each(Filter::check)?;
            check_together(filters)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        AddressSource, BackendTarget, ExternalAuth, Fraction, Mirror, ObjectName, Redirect, Timeouts,
        Unresolved, UrlRewrite, WeightedBackend,
    };
    use http::{HeaderValue, StatusCode};

    fn rules(filter: &Filter) -> [Rule; 2] {
        let rule = |filters, backends| Rule {
            name: None,
            matches: vec![],
            filters,
            backends,
            timeouts: Timeouts::default(),
            retry: None,
            authorizations: vec![],
            limits: vec![],
            authentications: vec![],
        };
        let target = BackendTarget::Unresolved(Unresolved::NotFound);
        let backend = WeightedBackend { weight: 1, target, filters: vec![filter.clone()] };
        [rule(vec![filter.clone()], vec![]), rule(vec![], vec![backend])]
    }

    fn refused(filter: &Filter) -> bool {
        let [of_rule, of_backend] = rules(filter).map(|it| it.check().is_err());
        assert_eq!(of_rule, of_backend, "{filter:?}");
        of_rule
    }

    #[test]
    fn headers_of_the_connection_and_the_host_are_refused_wherever_they_stand() {
        let host = [header::HOST];
        for name in OF_CONNECTION.iter().chain(&host) {
            let bad = (name.clone(), HeaderValue::from_static("x"));
            for modifier in [
                HeaderModifier { set: vec![bad.clone()], ..Default::default() },
                HeaderModifier { add: vec![bad.clone()], ..Default::default() },
                HeaderModifier { remove: vec![bad.0.clone()], ..Default::default() },
            ] {
                assert!(refused(&Filter::RequestHeaders(modifier.clone())), "{name}");
                assert!(refused(&Filter::ResponseHeaders(modifier)), "{name}");
            }
        }
        let fine = (HeaderName::from_static("x-fine"), HeaderValue::from_static("x"));
        assert!(!refused(&Filter::RequestHeaders(HeaderModifier { set: vec![fine], ..Default::default() })));
    }

    #[test]
    fn a_listener_has_filters_that_need_no_route_and_requests_to_look_at() {
        let target = || BackendTarget::Unresolved(Unresolved::NotFound);
        let asks = |names: &[HeaderName]| {
            let protocol = AuthProtocol::Http {
                path_prefix: None,
                request_headers: vec![],
                response_headers: names.to_vec(),
            };
            Filter::ExternalAuth(ExternalAuth { target: target(), protocol })
        };
        let with = |protocol, filters| {
            let listener = Listener {
                key: "a".into(),
                gateway: ObjectName::new("a", "b"),
                section: "c".into(),
                addresses: vec![],
                port: 80,
                hostname: None,
                protocol,
                backend_certificate: None,
                authorizations: vec![],
                address_source: AddressSource::Connection,
                filters,
                limits: vec![],
                authentications: vec![],
                closed: None,
                treatment: None,
            };
            listener.check()
        };
        use ListenerProtocol::{Hbone, Http, Tcp, TlsPassthrough, Udp};
        assert_eq!(with(Http, vec![asks(&[]), Filter::Unresolved("x".into())]), Ok(()));
        assert_eq!(with(Http, vec![asks(&[header::HOST])]), Err(InvalidFilter::Host));
        let mirror = Filter::Mirror(Mirror { target: target(), fraction: Fraction::ALL });
        for filter in [mirror, Filter::ResponseHeaders(HeaderModifier::default())] {
            assert_eq!(with(Http, vec![asks(&[]), filter]), Err(InvalidFilter::NotOfListener));
        }
        for protocol in [Hbone, Tcp, TlsPassthrough, Udp] {
            assert_eq!(with(protocol.clone(), vec![]), Ok(()));
            assert_eq!(with(protocol, vec![asks(&[])]), Err(InvalidFilter::NoRequests));
        }
    }

    #[test]
    fn what_replaces_a_host_or_a_path_is_a_host_or_a_path() {
        for (host, path, is_refused) in [
            (None, None, false),
            (Some("a.example"), Some("/a"), false),
            (Some("10.0.0.1"), None, false),
            (Some("*.example"), None, true),
            (Some("a.example:80"), None, true),
            (Some("a b"), None, true),
            (Some("a.example/x"), None, true),
            (Some("user@a.example"), None, true),
            (Some(""), None, true),
            (None, Some("/a?b"), true),
            (None, Some("/../a"), true),
        ] {
            for modifier in [PathModifier::ReplaceFull, PathModifier::ReplacePrefix] {
                let path = path.map(|it| modifier(it.into()));
                let redirect = Filter::Redirect(Redirect {
                    scheme: None,
                    hostname: host.map(Into::into),
                    path: path.clone(),
                    port: None,
                    status: StatusCode::FOUND,
                });
                let hostname = host.map(|it| HeaderValue::from_str(it).unwrap());
                let rewrite = Filter::Rewrite(UrlRewrite { hostname, path });
                assert_eq!(refused(&redirect), is_refused, "{host:?} {redirect:?}");
                assert_eq!(refused(&rewrite), is_refused, "{host:?} {rewrite:?}");
            }
        }
    }
}
