//! Tables of verdicts, and the comparison with an evaluator that is written from the documentation alone.

mod naive;
mod samples;

use super::*;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use samples::{Sample, id};
use std::sync::Arc;

fn authorization(action: Action, conditions: Vec<Condition>) -> Authorization {
    Authorization::new("it", action, vec![Rule::when(conditions)])
}

fn at(level: Level, authorization: &Authorization) -> Attached<'_> {
    Attached { level, name: &authorization.name, authorization: Some(authorization) }
}

fn connection(peer: Option<&SpiffeId>, port: u16) -> Attributes<'_> {
    Attributes { peer, client: Some([10, 0, 0, 1].into()), port, request: None }
}

fn allows(authorizations: &[Authorization], attributes: &Attributes<'_>) -> bool {
    evaluate(authorizations.iter().map(|it| at(Level::Pod, it)), attributes).verdict.is_allowed()
}

#[test]
fn with_no_authorization_everything_is_let_in() {
    assert_eq!(evaluate([], &connection(None, 80)).verdict, Verdict::Allowed { by: None });
}

#[test]
fn a_required_waypoint_refuses_all_other_peers_on_its_ports_only() {
    let only_waypoint = [authorization(
        Action::Deny,
        vec![Condition::PeerIsNot(vec![id("shop", "waypoint")]), Condition::PortIs(vec![80])],
    )];
    let (waypoint, client) = (id("shop", "waypoint"), id("shop", "client"));
    assert!(allows(&only_waypoint, &connection(Some(&waypoint), 80)));
    assert!(!allows(&only_waypoint, &connection(Some(&client), 80)));
    assert!(!allows(&only_waypoint, &connection(None, 80)));
    assert!(allows(&only_waypoint, &connection(Some(&client), 81)));
}

#[test]
fn one_allow_makes_everything_else_refused() {
    let allow = [authorization(Action::Allow, vec![Condition::PeerIs(vec![id("shop", "a")])])];
    let (a, b) = (id("shop", "a"), id("shop", "b"));
    assert!(allows(&allow, &connection(Some(&a), 80)));
    assert_eq!(
        evaluate([at(Level::Pod, &allow[0])], &connection(Some(&b), 80)).verdict,
        Verdict::Refused(PolicyRefusal::NotAllowed { level: Level::Pod, policy: "it".into() })
    );
}

#[test]
fn what_is_not_understood_fails_closed() {
    let unknown = || Condition::NotUnderstood("moon phase".into());
    assert!(!allows(&[authorization(Action::Allow, vec![unknown()])], &connection(None, 80)));
    assert!(!allows(&[authorization(Action::Deny, vec![unknown()])], &connection(None, 80)));
    // The rest of a Deny still narrows it.
    let narrow = vec![unknown(), Condition::PortIs(vec![81])];
    assert!(allows(&[authorization(Action::Deny, narrow)], &connection(None, 80)));
}

#[test]
fn a_condition_on_a_request_is_not_understood_by_a_tunnel_of_bytes() {
    let get = || Condition::MethodIs(vec![Method::GET]);
    assert!(!allows(&[authorization(Action::Allow, vec![get()])], &connection(None, 80)));
    assert!(!allows(&[authorization(Action::Deny, vec![get()])], &connection(None, 80)));
    let within = || Condition::AnyOf(vec![vec![get()]]);
    assert!(!allows(&[authorization(Action::Allow, vec![within()])], &connection(None, 80)));
    assert!(!allows(&[authorization(Action::Deny, vec![within()])], &connection(None, 80)));
    assert!(!within().is_of_connection() && !get().is_of_connection());
    assert!(Condition::AnyOf(vec![vec![Condition::PortIs(vec![80])]]).is_of_connection());
}

#[test]
fn an_authorization_that_is_not_known_refuses() {
    let name: Arc<str> = "missing".into();
    let missing = Attached { level: Level::Pod, name: &name, authorization: None };
    assert_eq!(
        evaluate([missing], &connection(None, 80)).verdict,
        Verdict::Refused(PolicyRefusal::Unknown { policy: name.clone() })
    );
}

#[test]
fn every_level_has_to_allow_and_a_route_does_not_open_what_its_gateway_closes() {
    let (a, b) = (id("shop", "a"), id("shop", "b"));
    let allow = |it: &SpiffeId| authorization(Action::Allow, vec![Condition::PeerIs(vec![it.clone()])]);
    let everybody = Authorization::new("all", Action::Allow, vec![Rule::default()]);
    for (gateway, route, peer, expected) in [
        (allow(&a), allow(&a), &a, true),
        (allow(&a), everybody.clone(), &a, true),
        (allow(&a), everybody.clone(), &b, false),
        (everybody.clone(), allow(&a), &b, false),
        (allow(&a), allow(&b), &a, false),
        (allow(&a), allow(&b), &b, false),
    ] {
        for attached in [
            [at(Level::Gateway, &gateway), at(Level::Route, &route)],
            [at(Level::Route, &route), at(Level::Gateway, &gateway)],
        ] {
            let decision = evaluate(attached, &connection(Some(peer), 80));
            assert_eq!(decision.verdict.is_allowed(), expected, "{gateway:?} {route:?} {peer}");
        }
    }
    // At one level one of them is enough.
    let (first, second) = (allow(&a), allow(&b));
    let one_level = [at(Level::Route, &first), at(Level::Route, &second)];
    assert!(evaluate(one_level, &connection(Some(&b), 80)).verdict.is_allowed());
}

#[test]
fn an_empty_list_never_holds_and_an_absent_one_is_no_condition() {
    let empty = [
        Condition::PeerIs(vec![]),
        Condition::PortIs(vec![]),
        Condition::ClientIn(CidrSet::default()),
        Condition::AnyOf(vec![]),
        Condition::PeerNamespaceIs { trust_domain: samples::trust_domain(), namespaces: vec![] },
    ];
    let peer = id("shop", "a");
    for condition in empty {
        let allow = [authorization(Action::Allow, vec![condition.clone()])];
        assert!(!allows(&allow, &connection(Some(&peer), 80)), "{condition:?}");
        let deny = [authorization(Action::Deny, vec![condition.clone()])];
        assert!(allows(&deny, &connection(Some(&peer), 80)), "{condition:?}");
    }
    for condition in [Condition::PeerIsNot(vec![]), Condition::AnyOf(vec![vec![]])] {
        let allow = [authorization(Action::Allow, vec![condition.clone()])];
        assert!(allows(&allow, &connection(Some(&peer), 80)), "{condition:?}");
    }
    let no_rules = [Authorization::new("none", Action::Allow, vec![])];
    assert!(!allows(&no_rules, &connection(Some(&peer), 80)));
    assert!(allows(&[authorization(Action::Allow, vec![])], &connection(Some(&peer), 80)));
}

#[test]
fn a_namespace_is_of_one_trust_domain() {
    let shop =
        Condition::PeerNamespaceIs { trust_domain: samples::trust_domain(), namespaces: vec!["shop".into()] };
    let foreign: SpiffeId = "spiffe://elsewhere.example/ns/shop/sa/a".parse().unwrap();
    let allow = [authorization(Action::Allow, vec![shop])];
    assert!(allows(&allow, &connection(Some(&id("shop", "a")), 80)));
    assert!(!allows(&allow, &connection(Some(&id("shopping", "a")), 80)));
    assert!(!allows(&allow, &connection(Some(&foreign), 80)));
    assert!(!allows(&allow, &connection(None, 80)));
}

#[test]
fn a_verdict_names_the_policy_and_the_rule_that_decided() {
    let rules = vec![
        Rule { name: Some("first".into()), conditions: vec![Condition::PortIs(vec![80])] },
        Rule::when(vec![Condition::PortIs(vec![81])]),
    ];
    let deny = Authorization::new("shop/deny", Action::Deny, rules.clone());
    let said = |port| match evaluate([at(Level::Pod, &deny)], &connection(None, port)).verdict {
        Verdict::Refused(it) => (it.to_string(), it.rule().map(ToString::to_string)),
        Verdict::Allowed { .. } => panic!("let in"),
    };
    assert_eq!(said(80), ("denied by shop/deny (rule first)".to_owned(), Some("first".to_owned())));
    assert_eq!(said(81), ("denied by shop/deny (rules[1])".to_owned(), Some("1".to_owned())));
    let allow = Authorization::new("shop/allow", Action::Allow, rules);
    match evaluate([at(Level::Pod, &allow)], &connection(None, 81)).verdict {
        Verdict::Allowed { by: Some(by) } => {
            assert_eq!((&**by.policy, by.number, by.rule_name()), ("shop/allow", 1, RuleName::Number(1)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_observed_is_decided_and_does_not_count() {
    let observe = |it: Authorization| Authorization { mode: Mode::Observe, ..it };
    let deny = observe(authorization(Action::Deny, vec![Condition::PortIs(vec![80])]));
    let allow = observe(authorization(Action::Allow, vec![Condition::PortIs(vec![81])]));
    for (attached, port, observed) in [
        (vec![&deny], 80, true),
        (vec![&deny], 81, false),
        (vec![&allow], 80, true),
        (vec![&allow], 81, false),
        (vec![&deny, &allow], 82, true),
    ] {
        let decision = evaluate(attached.iter().map(|it| at(Level::Pod, it)), &connection(None, port));
        assert!(decision.verdict.is_allowed(), "{port}");
        assert_eq!(decision.observed.is_some(), observed, "{port} {decision:?}");
    }
}

#[test]
fn a_deny_by_header_is_not_passed_by_another_form_of_it_and_an_allow_needs_one_that_all_servers_read_alike() {
    for (name, value, lines, allow, deny) in [
        ("x-role", "admin", &[("x-role", "admin")][..], true, true),
        ("x-role", "admin", &[("x-role", "user")], false, false),
        ("x-role", "admin", &[], false, false),
        // Twice.
        ("x-role", "admin", &[("x-role", "admin"), ("x-role", "user")], false, true),
        ("x-role", "admin", &[("x-role", "user"), ("x-role", "admin")], false, true),
        ("x-role", "admin", &[("x-role", "admin"), ("x-role", "admin")], true, true),
        // In a list (RFC 9110 §5.3), and a list in pieces.
        ("x-role", "admin", &[("x-role", "user, admin")], false, true),
        ("x-role", "admin", &[("x-role", "user,admin,x")], false, true),
        ("x-role", "user, admin", &[("x-role", "user"), ("x-role", "admin")], false, true),
        ("x-role", "user,admin", &[("x-role", "user"), ("x-role", "admin")], false, true),
        // By a name that CGI, WSGI and PHP take for this one.
        ("x-role", "admin", &[("x_role", "admin")], false, true),
        ("x-role", "admin", &[("x-role", "admin"), ("x_role", "user")], false, true),
        ("x-role", "admin", &[("x-roles", "admin")], false, false),
        ("x_role", "admin", &[("x-role", "admin")], false, true),
        ("x-my_role", "admin", &[("x_my-role", "admin")], false, true),
        // HTTP/2 sends a cookie in pieces (RFC 9113 §8.2.3).
        ("cookie", "a=1; b=2", &[("cookie", "a=1"), ("cookie", "b=2")], true, true),
        ("cookie", "a=1; b=2", &[("cookie", "a=1; b=2")], true, true),
        // A piece with nothing in it says nothing.
        ("cookie", "a=1; b=2", &[("cookie", "a=1"), ("cookie", ""), ("cookie", "b=2")], true, true),
        ("cookie", "a=1; b=2", &[("cookie", ""), ("cookie", "a=1"), ("cookie", "b=2")], true, true),
        ("cookie", "a=1", &[("cookie", "a=1"), ("cookie", "")], true, true),
        ("cookie", "a=1; ", &[("cookie", "a=1"), ("cookie", "")], false, false),
        ("cookie", "a=1", &[("cookie", "a=1"), ("cookie", "b=2")], false, true),
        ("cookie", "a=1", &[("cookie", "a=1; b=2")], false, true),
        ("cookie", "a=1", &[("cookie", "b=2;a=1")], false, true),
        ("cookie", "a=1", &[("cookie", "b=a=1")], false, false),
    ] {
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, HeaderValue::from_static(line));
        }
        let path = Path::new("/");
        let request = Some(Request { method: &Method::GET, host: "", path: &path, headers: &headers });
        let attributes = Attributes { request, ..connection(None, 80) };
        let value = ValueMatch::Exact(value.into());
        let condition = Condition::HeaderIs(HeaderMatch { name: name.parse().unwrap(), value });
        let of = |action| allows(&[authorization(action, vec![condition.clone()])], &attributes);
        assert_eq!((of(Action::Allow), !of(Action::Deny)), (allow, deny), "{condition:?} {lines:?}");
    }
}

#[test]
fn a_deny_by_method_holds_in_any_case_and_an_allow_in_one() {
    let condition = Condition::MethodIs(vec![Method::DELETE]);
    for (method, allow, deny) in
        [("DELETE", true, true), ("delete", false, true), ("Delete", false, true), ("GET", false, false)]
    {
        let (method, path, headers) = (method.parse().unwrap(), Path::new("/"), HeaderMap::new());
        let request = Some(Request { method: &method, host: "", path: &path, headers: &headers });
        let attributes = Attributes { request, ..connection(None, 80) };
        let of = |action| allows(&[authorization(action, vec![condition.clone()])], &attributes);
        assert_eq!((of(Action::Allow), !of(Action::Deny)), (allow, deny), "{method}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_verdict_is_that_of_an_evaluator_written_from_the_documentation(
        policies in proptest::collection::vec((samples::level(), samples::authorization(), 0..10_u8), 0..5),
        sample in samples::sample(),
    ) {
        // One in ten is named and not known.
        let attached = || policies.iter().map(|(level, it, known)| Attached {
            level: *level,
            name: &it.name,
            authorization: (*known > 0).then_some(it),
        });
        let Sample { peer, client, port, request } = &sample;
        let path = request.as_ref().map(|it| Path::new(&it.path)).unwrap_or(Path::new("/"));
        let attributes = Attributes {
            peer: peer.as_ref(),
            client: *client,
            port: *port,
            request: request.as_ref().map(|it| Request {
                method: &it.method, host: &it.host, path: &path, headers: &it.headers,
            }),
        };
        let decision = evaluate(attached(), &attributes);
        let known: Vec<_> = policies.iter().map(|(level, it, known)| (*level, it, *known > 0)).collect();
        prop_assert_eq!(decision.verdict.is_allowed(), naive::is_allowed(&known, &sample, false));
        if decision.verdict.is_allowed() {
            prop_assert_eq!(decision.observed.is_none(), naive::is_allowed(&known, &sample, true));
        }
        // Whoever is named has decided.
        let named = |name: &Arc<str>| known.iter().any(|(_, it, _)| it.name == *name);
        match &decision.verdict {
            Verdict::Allowed { by: Some(by) } => {
                prop_assert_eq!(by.rule, &known.iter().find(|it| it.1.name == *by.policy).unwrap().1.rules[by.number]);
            }
            Verdict::Allowed { by: None } => {}
            Verdict::Refused(refusal) => prop_assert!(named(refusal.policy())),
        }
    }
}

/// An expression whose program is large, and a text that it cannot be compared with in a reasonable time.
#[test]
fn what_is_too_long_to_be_compared_counts_against_the_client() {
    let pattern = || Pattern::new(r"/?[\pL\pN]{10}.*").unwrap();
    let long = format!("/{}", "a".repeat(40 * 1024));
    assert!(!pattern().takes(long.len()));
    let header = HeaderMatch { name: HeaderName::from_static("x-a"), value: ValueMatch::Regex(pattern()) };
    let conditions =
        [Condition::HeaderIs(header), Condition::PathIs(vec![PathMatch::Regex(pattern()).into()])];
    for condition in conditions {
        for action in [Action::Allow, Action::Deny] {
            let authorization = Authorization::new("p", action, vec![Rule::when(vec![condition.clone()])]);
            for name in ["x-a", "x_a"] {
                let mut headers = HeaderMap::new();
                headers.insert(name, long.parse().unwrap());
                let path = Path::new(&long);
                let request = Request { method: &Method::GET, host: "a", path: &path, headers: &headers };
                let attributes = Attributes { peer: None, client: None, port: 80, request: Some(request) };
                assert!(
                    !evaluate([at(Level::Route, &authorization)], &attributes).verdict.is_allowed(),
                    "{name} {action:?}"
                );
            }
            for (text, matches) in [(long.as_str(), false), (&long[..30], true), ("/short", false)] {
                let mut headers = HeaderMap::new();
                headers.insert("x-a", text.parse().unwrap());
                let path = Path::new(text);
                let request = Request { method: &Method::GET, host: "a", path: &path, headers: &headers };
                let attributes = Attributes { peer: None, client: None, port: 80, request: Some(request) };
                let is_allowed =
                    evaluate([at(Level::Route, &authorization)], &attributes).verdict.is_allowed();
                let is_long = text.len() > 100;
                let expected = !is_long && matches == (action == Action::Allow);
                assert_eq!(is_allowed, expected, "{condition:?} {action:?} {} bytes", text.len());
            }
        }
    }
}
