//! Routes, requests and configurations for tests.

use crate::table::Tables;
use crate::testing;
use crate::upstream::cluster::Registry;
use fairway_config::model::{
    Attachment, Audience, Filter, GrpcMethodMatch, HeaderMatch, HostMatch, HostnamePattern, L4Kind, L4Route,
    Listener, Match, ObjectName, PathMatch, Pattern, QueryMatch, Resource, Route, RouteKind, Rule,
    ValueMatch,
};
use fairway_config::{Delta, Snapshot};
use http::request::Parts;
use http::{HeaderName, Method, Request};
use std::sync::Arc;

/// An HTTPRoute `shop/<name>` without rules, bound to every host of listener `listener`.
pub(crate) fn route(name: &str) -> Route {
    testing::route(name, "listener", vec![])
}

/// Like [`route`], a GRPCRoute.
pub(crate) fn grpc_route(name: &str) -> Route {
    Route { key: format!("GRPCRoute/shop/{name}").into(), kind: RouteKind::Grpc, ..route(name) }
}

/// A TLSRoute, TCPRoute or UDPRoute `shop/<name>` without backends, bound to listener `listener`.
pub(crate) fn l4_route(kind: L4Kind, name: &str) -> L4Route {
    L4Route {
        key: format!("{kind:?}Route/shop/{name}").into(),
        kind,
        object: ObjectName::new("shop", name),
        created: 0,
        attachments: vec![attachment("listener", &[])],
        rule: None,
        backends: vec![],
    }
}

pub(crate) fn attachment(listener: &str, hostnames: &[(&str, &str)]) -> Attachment {
    let host = |&(effective, original): &(&str, &str)| HostMatch {
        effective: effective.parse().unwrap(),
        original: original.parse().unwrap(),
    };
    Attachment::Listener { listener: listener.into(), hostnames: hostnames.iter().map(host).collect() }
}

pub(crate) fn to_service(service: &str, port: Option<u16>, audience: Audience) -> Attachment {
    Attachment::Service { service: service.into(), port, audience }
}

/// A rule that sends everything that one of the matches fits to one backend.
pub(crate) fn rule(matches: Vec<Match>, backend: &str) -> Rule {
    Rule { matches, ..testing::rule("/", backend) }
}

pub(crate) fn filters(filters: Vec<Filter>) -> Rule {
    Rule { filters, ..rule(vec![prefix("/")], "backend") }
}

fn path(path: PathMatch) -> Match {
    Match { path, headers: vec![], query: vec![], method: None }
}

pub(crate) fn prefix(text: &str) -> Match {
    path(PathMatch::Prefix(text.trim_end_matches('/').into()))
}

pub(crate) fn exact(text: &str) -> Match {
    path(PathMatch::Exact(text.into()))
}

pub(crate) fn expression(text: &str) -> Match {
    path(PathMatch::Regex(Pattern::new(text).unwrap()))
}

pub(crate) fn grpc(service: Option<ValueMatch>, method: Option<ValueMatch>) -> Match {
    path(PathMatch::Grpc(GrpcMethodMatch { service, method }))
}

/// How tests write a comparison: `text` is exact, `~text` is an expression.
pub(crate) fn value(text: &str) -> ValueMatch {
    match text.strip_prefix('~') {
        Some(expression) => ValueMatch::Regex(Pattern::new(expression).unwrap()),
        None => ValueMatch::Exact(text.into()),
    }
}

pub(crate) trait MatchExt {
    fn header(self, name: &str, text: &str) -> Self;
    fn query(self, name: &str, text: &str) -> Self;
    fn method(self, method: &str) -> Self;
}

impl MatchExt for Match {
    fn header(mut self, name: &str, text: &str) -> Self {
        let name = HeaderName::try_from(name.to_ascii_lowercase()).unwrap();
        self.headers.push(HeaderMatch { name, value: value(text) });
        self
    }

    fn query(mut self, name: &str, text: &str) -> Self {
        self.query.push(QueryMatch { name: name.into(), value: value(text) });
        self
    }

    fn method(mut self, method: &str) -> Self {
        self.method = Some(method.parse().unwrap());
        self
    }
}

pub(crate) fn listener(key: &str, hostname: Option<&str>) -> Listener {
    let hostname = hostname.map(|it| it.parse::<HostnamePattern>().unwrap());
    Listener { hostname, ..testing::listener(key) }
}

pub(crate) fn snapshot(upserts: Vec<Resource>) -> Snapshot {
    Snapshot::default().apply(Delta { upserts, ..Delta::default() }).0
}

/// The tables of one listener, `l`, with one route of these rules.
pub(crate) fn tables(rules: Vec<Rule>) -> Tables {
    let route = Route { attachments: vec![attachment("l", &[])], rules, ..route("r") };
    let resources = vec![Resource::Listener(Arc::new(listener("l", None))), resource(route)];
    Tables::build(&snapshot(resources), &mut Registry::default()).unwrap()
}

pub(crate) fn resource(route: Route) -> Resource {
    Resource::Route(Arc::new(route))
}

/// A request's head from `<method> <host><path>` and headers.
pub(crate) fn request(line: &str, headers: &[(&str, &str)]) -> Parts {
    let (method, url) = line.split_once(' ').unwrap();
    let (host, path) = url.split_at(url.find('/').unwrap());
    let mut request =
        Request::builder().method(method.parse::<Method>().unwrap()).uri(path).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}
