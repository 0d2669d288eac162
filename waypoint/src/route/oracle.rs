//! The tables against a matcher that knows no index: it looks at every alternative of every route, word by word as the API
//! describes it, and takes the best.

use super::{RequestHead, select};
use crate::fixtures::{
    MatchExt, attachment, exact, expression, grpc, grpc_route, listener, prefix, request, resource, route,
    rule, snapshot, value,
};
use crate::table::{Socket, SocketKind, Tables};
use crate::upstream::cluster::Registry;
use fairway_config::model::{
    Attachment, HostnamePattern, Match, ObjectName, PathMatch, Resource, Route, RouteKind, Rule, ValueMatch,
};
use http::request::Parts;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which rule answers: the route's key, the rule and the alternative.
type RuleMatch = Option<(String, usize, Match)>;

fn naive(routes: &[Route], host: &str, parts: &Parts) -> RuleMatch {
    let mut best = None;
    for route in routes {
        for (effective, original) in hostnames(route, host) {
            for (rule_index, rule) in route.rules.iter().enumerate() {
                for (index, alternative) in rule.matches.iter().enumerate() {
                    let Some(path_rank) = path_rank(route.kind, &alternative.path, parts) else {
                        continue;
                    };
                    if !holds(alternative, parts) {
                        continue;
                    }
                    let rank = (
                        Reverse(effective.as_ref().map(HostnamePattern::specificity)),
                        Reverse(original.as_ref().map(HostnamePattern::specificity)),
                        route.kind == RouteKind::Http,
                        path_rank,
                        alternative.method.is_none(),
                        Reverse(alternative.headers.len()),
                        Reverse(alternative.query.len()),
                        (route.created, route.object.to_string(), rule_index, index),
                    );
                    let answer = (route.key.to_string(), rule_index, alternative.clone());
                    if best.as_ref().is_none_or(|(it, _)| rank < *it) {
                        best = Some((rank, answer));
                    }
                }
            }
        }
    }
    best.map(|(_, answer)| answer)
}

/// The hostnames under which a route takes this host.
fn hostnames(route: &Route, host: &str) -> Vec<(Option<HostnamePattern>, Option<HostnamePattern>)> {
    let mut found = vec![];
    for attachment in &route.attachments {
        match attachment {
            Attachment::Listener { hostnames, .. } if hostnames.is_empty() => found.push((None, None)),
            Attachment::Listener { hostnames, .. } => {
                let here = hostnames.iter().filter(|it| it.effective.matches(host));
                found.extend(here.map(|it| (Some(it.effective.clone()), Some(it.original.clone()))));
            }
            Attachment::Service { .. } => {}
        }
    }
    found
}

/// How good the path fits, less is better; none if it does not.
fn path_rank(kind: RouteKind, expected: &PathMatch, parts: &Parts) -> Option<[(u8, Reverse<usize>); 2]> {
    let path = parts.uri.path();
    let none = (0, Reverse(0));
    match (kind, expected) {
        (RouteKind::Http, PathMatch::Exact(it)) => (**it == *path).then_some([(0, Reverse(0)), none]),
        (RouteKind::Http, PathMatch::Regex(it)) => {
            it.is_match(path).then_some([(1, Reverse(it.as_str().chars().count())), none])
        }
        (RouteKind::Http, PathMatch::Prefix(it)) => {
            let fits = path.strip_prefix(&**it).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            fits.then_some([(2, Reverse(it.chars().count())), none])
        }
        (RouteKind::Grpc, PathMatch::Grpc(it)) => {
            let is_grpc = parts.headers.get("content-type").is_some_and(|it| it == "application/grpc");
            let (service, method) = path[1..].split_once('/').filter(|it| is_grpc && !it.1.contains('/'))?;
            let part = |expected: &Option<ValueMatch>, text: &str| match expected {
                None => Some((2, Reverse(0))),
                Some(ValueMatch::Exact(it)) => (**it == *text).then(|| (0, Reverse(it.chars().count()))),
                Some(ValueMatch::Regex(it)) => {
                    it.is_match(text).then(|| (1, Reverse(it.as_str().chars().count())))
                }
            };
            Some([part(&it.service, service)?, part(&it.method, method)?])
        }
        _ => None,
    }
}

fn holds(alternative: &Match, parts: &Parts) -> bool {
    let method = alternative.method.as_ref().is_none_or(|it| *it == parts.method);
    let headers = alternative.headers.iter().all(|it| {
        let values: Vec<_> = parts.headers.get_all(&it.name).iter().map(|it| it.to_str().unwrap()).collect();
        // RFC 9110 §5.3, and of cookies RFC 9113 §8.2.3; pieces without anything in them are none.
        let value = match it.name == "cookie" {
            true => values.iter().copied().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("; "),
            false => values.join(","),
        };
        !values.is_empty() && it.value.matches(&value)
    });
    let pairs: Vec<(&str, &str)> =
        parts.uri.query().unwrap_or_default().split('&').filter_map(|it| it.split_once('=')).collect();
    let query = alternative.query.iter().all(|it| {
        let first = pairs.iter().find(|(name, _)| **name == *it.name);
        first.is_some_and(|(_, value)| it.value.matches(value))
    });
    method && headers && query
}

// What routes and requests are made of: little, so that they meet.

const HOSTS: [&str; 5] = ["a.example.com", "b.a.example.com", "*.example.com", "*.a.example.com", "*.com"];

fn any_path() -> impl Strategy<Value = String> {
    let element = prop::sample::select(vec!["a", "b", "ab", "A", ""]);
    prop::collection::vec(element, 0..4).prop_map(|it| format!("/{}", it.join("/")))
}

fn any_text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["1", "2", "1,2", "1; 2", "~[12]", "~1.*"])
}

fn any_match(kind: RouteKind) -> BoxedStrategy<Match> {
    let path = match kind {
        RouteKind::Http => prop_oneof![
            3 => any_path().prop_map(|it| prefix(&it)),
            3 => any_path().prop_map(|it| exact(&it)),
            1 => prop::sample::select(vec!["/a.*", "/[ab]+", ".*", "/b/.*"]).prop_map(expression),
        ]
        .boxed(),
        RouteKind::Grpc => {
            let part = || {
                prop::option::of(prop::sample::select(vec!["a", "b", "ab", "~a.*", "~.*"]).prop_map(value))
            };
            (part(), part()).prop_map(|(service, method)| grpc(service, method)).boxed()
        }
    };
    let names = || prop::sample::subsequence(vec!["x", "y"], 0..=2);
    let fields = prop::sample::subsequence(vec!["x", "y", "cookie"], 0..=3);
    let method = prop::option::weighted(0.2, prop::sample::select(vec!["GET", "POST"]));
    (path, fields, names(), any_text(), any_text(), method)
        .prop_map(|(mut it, headers, query, header_value, query_value, method)| {
            for name in headers {
                it = it.header(name, header_value);
            }
            for name in query {
                it = it.query(name, query_value);
            }
            match method {
                Some(method) => it.method(method),
                None => it,
            }
        })
        .boxed()
}

fn any_hostnames() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let pairs = HOSTS.iter().flat_map(|effective| HOSTS.iter().map(move |original| (*effective, *original)));
    let covers = |(effective, original): &(&str, &str)| {
        let (effective, original): (HostnamePattern, HostnamePattern) =
            (effective.parse().unwrap(), original.parse().unwrap());
        original.intersect(&effective) == Some(effective)
    };
    prop::sample::subsequence(pairs.filter(covers).collect::<Vec<_>>(), 0..3)
}

pub(crate) fn any_route() -> impl Strategy<Value = Route> {
    let kind = prop_oneof![3 => Just(RouteKind::Http), 1 => Just(RouteKind::Grpc)];
    kind.prop_flat_map(|kind| {
        let rules = prop::collection::vec(prop::collection::vec(any_match(kind), 1..4), 1..4);
        let listeners = prop::sample::subsequence(vec!["listener", "other"], 1..=2);
        (Just(kind), 0..5_u8, 0..2_u8, 0..2_i64, listeners, any_hostnames(), rules)
    })
    .prop_map(|(kind, name, namespace, created, listeners, hostnames, rules)| {
        let (name, namespace) = (format!("r{name}"), ["shop", "shop-b"][usize::from(namespace)]);
        let base = if kind == RouteKind::Http { route(&name) } else { grpc_route(&name) };
        Route {
            key: format!("{kind:?}Route/{namespace}/{name}").into(),
            object: ObjectName::new(namespace, &*name),
            created,
            attachments: listeners.iter().map(|it| attachment(it, &hostnames)).collect(),
            rules: rules.into_iter().map(|it| -> Rule { rule(it, "backend") }).collect(),
            ..base
        }
    })
}

pub(crate) fn any_request() -> impl Strategy<Value = Parts> {
    let host =
        prop::sample::select(vec!["a.example.com", "b.a.example.com", "c.example.com", "x.com", "x.org"]);
    let text = || prop::sample::subsequence(vec!["1", "2"], 0..=2);
    let cookies = prop::sample::subsequence(vec!["", "1", "", "2", ""], 0..=5);
    let method = prop::sample::select(vec!["GET", "POST"]);
    (host, any_path(), method, text(), text(), cookies, text(), any::<bool>()).prop_map(
        |(host, path, method, x, y, cookies, query, is_grpc)| {
            let mut headers: Vec<_> = x.into_iter().map(|it| ("x", it)).collect();
            headers.extend(y.into_iter().map(|it| ("y", it)));
            headers.extend(cookies.into_iter().map(|it| ("cookie", it)));
            if is_grpc {
                headers.push(("content-type", "application/grpc"));
            }
            let query: Vec<_> =
                ["x", "y"].iter().zip(&query).map(|(name, value)| format!("{name}={value}")).collect();
            request(&format!("{method} {host}{path}?{}", query.join("&")), &headers)
        },
    )
}

/// What tables answer through a listener.
pub(crate) fn answer(tables: &Tables, listener: &str, parts: &Parts) -> RuleMatch {
    let head = RequestHead::read(parts).unwrap();
    let port = if listener == "other" { 81 } else { 80 };
    let socket = tables.socket(&Socket { address: None, port, kind: SocketKind::Stream })?;
    let entry = select(&socket.for_host(&head.host)?.routes, &head).unwrap()?;
    Some((entry.route().key.to_string(), entry.index(), entry.matched().clone()))
}

/// Two listeners, each alone on its port.
pub(crate) fn listeners() -> Vec<Resource> {
    let other = fairway_config::model::Listener { port: 81, ..listener("other", None) };
    vec![Resource::Listener(Arc::new(listener("listener", None))), Resource::Listener(Arc::new(other))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn tables_answer_like_a_matcher_that_looks_at_every_route(
        routes in prop::collection::vec(any_route(), 0..12),
        requests in prop::collection::vec(any_request(), 1..24),
    ) {
        let routes: BTreeMap<_, _> = routes.into_iter().map(|it| (it.key.clone(), it)).collect();
        let routes: Vec<_> = routes.into_values().collect();
        let resources = listeners().into_iter().chain(routes.iter().cloned().map(resource)).collect();
        let tables = Tables::build(&snapshot(resources), &mut Registry::default()).unwrap();
        let here: Vec<_> = routes
            .into_iter()
            .filter(|it| it.attachments.iter().any(|it| matches!(it, Attachment::Listener { listener, .. } if listener.as_str() == "listener")))
            .collect();
        for parts in &requests {
            let head = RequestHead::read(parts).unwrap();
            prop_assert_eq!(answer(&tables, "listener", parts), naive(&here, &head.host, parts), "{:?}", parts);
        }
    }
}
