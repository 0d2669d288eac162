//! The same of generated tables and requests.

use super::explained;
use crate::fixtures::{MatchExt, attachment, expression, listener, prefix, route, rule, value};
use crate::testing::{MemoryClient, MemoryProxy, backend, cors, endpoint, redirect, set, to};
use fairway_config::model::{
    AddressSource, AppProtocol, AuthorizationKey, Filter, HeaderMatch, Listener, Match, OriginPattern,
    PathModifier, Resource, Route, Rule, UrlRewrite, WeightedBackend,
};
use fairway_policy::{Action, Authorization, Condition, PathMatch, Rule as PolicyRule};
use http::{HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local};

/// A table and a request, as a few choices.
#[derive(Clone, Debug)]
struct Case {
    /// Of the listener for every host and of the one for `b.ex`.
    listeners: [ListenerChoice; 2],
    rules: Vec<RuleChoice>,
    request: RequestChoice,
}

#[derive(Clone, Copy, Debug)]
struct ListenerChoice {
    source: u8,
    policy: u8,
    is_closed: bool,
}

#[derive(Clone, Debug)]
struct RuleChoice {
    matched: u8,
    filters: Vec<u8>,
    policy: u8,
    is_limited: bool,
    backend: u8,
    backend_filter: u8,
}

#[derive(Clone, Debug)]
struct RequestChoice {
    method: u8,
    host: u8,
    path: u8,
    headers: Vec<u8>,
}

fn cases() -> impl Strategy<Value = Case> {
    let listener = (0..4_u8, 0..6_u8, prop::bool::weighted(0.1)).prop_map(|(source, policy, is_closed)| {
        ListenerChoice { source, policy: policy.saturating_sub(2), is_closed }
    });
    let rule = (0..8_u8, vec(0..8_u8, 0..3), 0..7_u8, prop::bool::weighted(0.1), 0..8_u8, 0..8_u8).prop_map(
        |(matched, filters, policy, is_limited, backend, backend_filter)| RuleChoice {
            matched,
            filters,
            policy: policy.saturating_sub(3),
            is_limited,
            backend,
            backend_filter,
        },
    );
    let request = (0..4_u8, 0..4_u8, 0..6_u8, vec(0..9_u8, 0..4))
        .prop_map(|(method, host, path, headers)| RequestChoice { method, host, path, headers });
    ([listener.clone(), listener], vec(rule, 0..6), request).prop_map(|(listeners, rules, request)| Case {
        listeners,
        rules,
        request,
    })
}

/// None, or one that asks for something of the request.
fn policy(choice: u8) -> Vec<AuthorizationKey> {
    ["", "nobody", "office", "named", "no admin"]
        .get(usize::from(choice))
        .into_iter()
        .filter(|it| !it.is_empty())
        .map(|it| AuthorizationKey::from(*it))
        .collect()
}

fn policies() -> Vec<Resource> {
    let office = std::iter::once("203.0.113.0/24".parse().unwrap()).collect();
    let x_a = HeaderMatch { name: HeaderName::from_static("x-a"), value: value("1") };
    let admin = Condition::PathIs(vec![PathMatch::Prefix("/admin".into()).into()]);
    let when = |condition| vec![PolicyRule::when(vec![condition])];
    [
        Authorization::new("nobody", Action::Allow, vec![]),
        Authorization::new("office", Action::Allow, when(Condition::ClientIn(office))),
        Authorization::new("named", Action::Allow, when(Condition::HeaderIs(x_a))),
        Authorization::new("no admin", Action::Deny, when(admin)),
    ]
    .map(|it| Resource::Authorization(Arc::new(it)))
    .into()
}

fn source(choice: u8) -> AddressSource {
    let trusted = || std::iter::once("192.0.2.0/24".parse().unwrap()).collect();
    match choice {
        0 => AddressSource::Connection,
        1 => AddressSource::ForwardedFor(trusted()),
        2 => AddressSource::Header { name: HeaderName::from_static("x-at"), trusted: trusted() },
        _ => AddressSource::ForwardedFor(std::iter::once("10.0.0.0/8".parse().unwrap()).collect()),
    }
}

fn matched(choice: u8) -> Match {
    match choice {
        0 => prefix("/"),
        1 => prefix("/admin"),
        2 => prefix("/").method("GET"),
        3 => prefix("/").header("x-a", "1"),
        4 => prefix("/").header("x-a", r"~[\pL\pN]{10}.*"),
        5 => prefix("/").query("q", "1"),
        6 => prefix("/").header("x-forwarded-for", "203.0.113.7"),
        _ => expression("/a.*"),
    }
}

fn filter(choice: u8) -> Option<Filter> {
    let rewrite = |hostname: Option<&'static str>, path: Option<&str>| {
        let path = path.map(|it| PathModifier::ReplaceFull(it.into()));
        Filter::Rewrite(UrlRewrite { hostname: hostname.map(HeaderValue::from_static), path })
    };
    Some(match choice {
        0 => Filter::Cors(cors(OriginPattern::Any)),
        1 => Filter::Redirect(redirect("b.ex")),
        2 => Filter::Unresolved("x".into()),
        3 => Filter::RequestHeaders(set("x-a", "1")),
        4 => rewrite(Some("c.ex"), None),
        5 => rewrite(None, Some("/admin/x")),
        _ => return None,
    })
}

fn compiled(case: &Case) -> Vec<Resource> {
    let rules = case.rules.iter().map(|it| {
        // No rule has a filter twice, a redirect beside a rewrite, or two rewrites.
        let mut filters = it.filters.clone();
        filters.sort_unstable();
        filters.dedup();
        let (redirects, rewrites) = (filters.contains(&1), filters.contains(&4));
        filters.retain(|it| !(*it == 4 && redirects || *it == 5 && (redirects || rewrites)));
        let target = ["web", "web", "guarded", "named", "unknown", "empty", ""].get(usize::from(it.backend));
        let backends = match target {
            Some(&"") => vec![],
            None => vec![to(0, "web")],
            Some(name) => {
                let filters =
                    filter(it.backend_filter).filter(|_| it.backend_filter != 0).into_iter().collect();
                vec![WeightedBackend { filters, ..to(1, name) }]
            }
        };
        let filters = filters.into_iter().filter_map(filter).collect();
        Rule {
            filters,
            backends,
            authorizations: policy(it.policy),
            limits: if it.is_limited { vec!["not known".into()] } else { vec![] },
            ..rule(vec![matched(it.matched)], "web")
        }
    });
    let attachments = vec![attachment("listener", &[]), attachment("other", &[])];
    let route = Route { attachments, rules: rules.collect(), ..route("r") };
    let mut resources = vec![Resource::Route(Arc::new(route))];
    for (choice, (key, hostname)) in case.listeners.iter().zip([("listener", None), ("other", Some("b.ex"))])
    {
        let open = Listener {
            address_source: source(choice.source),
            authorizations: policy(choice.policy),
            ..listener(key, hostname)
        };
        resources.push(Resource::Listener(Arc::new(match choice.is_closed {
            true => open.close("x").unwrap(),
            false => open,
        })));
    }
    for (host, key, authorization) in [(1, "web", ""), (2, "guarded", "nobody"), (3, "named", "named")] {
        for mut resource in backend(key, AppProtocol::Http1, &[endpoint(host)]) {
            if let (Resource::Backend(backend), false) = (&mut resource, authorization.is_empty()) {
                Arc::make_mut(backend).authorizations = vec![authorization.into()];
            }
            resources.push(resource);
        }
    }
    resources.extend(backend("empty", AppProtocol::Http1, &[]));
    resources.extend(policies());
    resources
}

/// Its request line, its host and its headers.
fn asked(request: &RequestChoice) -> (String, String, Vec<(&'static str, String)>) {
    let choose = |of: &[&str], choice: u8| of[usize::from(choice) % of.len()].to_owned();
    let method = choose(&["GET", "GET", "POST", "OPTIONS"], request.method);
    let host = choose(&["a.ex", "b.ex", "B.ex:80", "a..ex"], request.host);
    let path = choose(&["/", "/admin", "/a", "/a?q=1", "/a/../b", "/%61dmin"], request.path);
    let mut headers: Vec<_> = request
        .headers
        .iter()
        .map(|choice| match choice {
            0 => ("origin", "https://app.ex".to_owned()),
            1 => ("access-control-request-method", "GET".to_owned()),
            2 => ("x-a", "1".to_owned()),
            3 => ("x-a", "a".repeat(15 * 1024)),
            4 => ("x-forwarded-for", "203.0.113.7".to_owned()),
            5 => ("x-at", "203.0.113.7".to_owned()),
            6 => ("x-at", "nowhere".to_owned()),
            7 => ("x-fairway-via", "0,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f".to_owned()),
            _ => ("x_forwarded_for", "203.0.113.8".to_owned()),
        })
        .collect();
    headers.dedup();
    (format!("{method} {path}"), host, headers)
}

/// Notes with which target and host a request has reached an endpoint, and answers it.
async fn note_and_serve(mut stream: DuplexStream, reached: Rc<RefCell<String>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let host = head.lines().find_map(|it| it.strip_prefix("host: ")).unwrap_or_default();
    let mut line = head.split(' ');
    let (method, target) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
    *reached.borrow_mut() = format!("{method} http://{host}{target}");
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
}

/// What a request is answered with, and what `/explain` says: the status, and all of it.
async fn served_and_explained(case: &Case, reached: Rc<RefCell<String>>) -> (u16, u16, String) {
    let proxy = MemoryProxy::start(compiled(case), move |_, stream| {
        spawn_local(note_and_serve(stream, reached.clone()));
        Ok(())
    });
    let (proxy, (line, host, headers)) = (proxy.unwrap(), asked(&case.request));
    let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut stream = proxy.connect(MemoryClient::default());
    let head = format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or_default();

    let (method, path) = line.split_once(' ').unwrap();
    let path = path.replace('%', "%25");
    let fields: String = headers.iter().map(|(name, value)| format!("&header={name}:{value}")).collect();
    let query = format!("url=http://{host}{path}&port=80&client=192.0.2.1&method={method}{fields}");
    let (said, text) = explained(&proxy.view(), &query);
    (status, said, text)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Whatever stands on the way of a request, in whatever table; and with the head that it has, if it gets that far.
    #[test]
    fn whatever_the_table_and_the_request_it_ends_as_it_is_explained(case in cases()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let reached: Rc<RefCell<String>> = Rc::default();
        let test = served_and_explained(&case, reached.clone());
        let (status, said, text) = LocalSet::new().block_on(&runtime.unwrap(), test);
        prop_assert_eq!(said, status, "{}\n{}", text, reached.borrow());
        let line = |what: &str| text.lines().find_map(|it| it.strip_prefix(what));
        let reached = reached.borrow();
        if !reached.is_empty() {
            let sent_on = line("         sent on ").or_else(|| line("sent on  "));
            let sent_on = sent_on.or_else(|| line("request  ")).unwrap_or_default();
            prop_assert_eq!(sent_on, reached.as_str(), "{}", text);
        }
    }
}
