//! Connections of which only the bytes are known: TCP, TLS that goes on as it is, datagrams.

use super::super::super::guards::Guards;
use super::super::super::limits::are_closed;
use super::super::{PolicySet, RequestSource};
use super::{listener, policy};
use crate::table::Tables;
use crate::upstream::cluster::Registry;
use fairway_config::model::{AuthorizationKey, Limit, Limits, Listener, PathMatch, RateLimit, Resource};
use fairway_config::{Delta, Snapshot};
use fairway_policy::{Action, Authorization, Cidr, Condition, Mode};
use http::Method;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

fn lets_in(authorization: Authorization, address: &str) -> bool {
    let names = [AuthorizationKey::from(&*authorization.name)];
    let upserts = vec![Resource::Authorization(Arc::new(authorization))];
    let (snapshot, changes) = Snapshot::default().apply(Delta { upserts, ..Delta::default() });
    let tables = Tables::default().next(&snapshot, &changes, &mut Registry::default()).unwrap();
    let listener = Listener { authorizations: names.into(), ..listener("l", None) };
    let entry = PolicySet::of_listener(Some(&listener));
    let source =
        RequestSource { peer: None, address: Some(address.parse().unwrap()), port: 443, asked: None };
    entry.judge(&tables, &source.attributes(None)).verdict.is_allowed()
}

#[test]
fn a_policy_that_looks_at_requests_closes_to_connections_of_bytes_that_the_rest_of_it_matches() {
    let near = || Condition::ClientIn(["192.0.2.0/24".parse::<Cidr>().unwrap()].into_iter().collect());
    let path = || Condition::PathIs(vec![PathMatch::Prefix("/admin".into()).into()]);
    let method = || Condition::MethodIs(vec![Method::GET]);
    for (action, conditions, from_near, from_far) in [
        (Action::Deny, vec![path()], false, false),
        (Action::Deny, vec![near(), path()], false, true),
        (Action::Deny, vec![near()], false, true),
        (Action::Deny, vec![Condition::PortIs(vec![80]), path()], true, true),
        (Action::Allow, vec![method()], false, false),
        (Action::Allow, vec![near(), method()], false, false),
        (Action::Allow, vec![near()], true, false),
        (Action::Allow, vec![], true, true),
    ] {
        for (address, expected) in
            [("192.0.2.1", from_near), ("::ffff:192.0.2.1", from_near), ("198.51.100.1", from_far)]
        {
            let case = format!("{action:?} {conditions:?} {address}");
            assert_eq!(lets_in(policy("p", action, conditions.clone()), address), expected, "{case}");
        }
    }
}

#[test]
fn bytes_pass_no_limit_that_may_be_about_them() {
    let about = |matches: Option<Vec<Condition>>| {
        let one = NonZeroU32::MIN;
        let matches = matches.map(|it| vec![it]);
        Limits::Each(vec![Limit {
            name: None,
            requests: one,
            per: Duration::from_secs(1),
            burst: one,
            key: vec![],
            matches,
        }])
    };
    let method = || Condition::MethodIs(vec![Method::GET]);
    let port = |port| Condition::PortIs(vec![port]);
    for (what, enforced) in [
        (about(None), false),
        (about(Some(vec![])), false),
        (about(Some(vec![method()])), false),
        (about(Some(vec![port(443)])), false),
        (about(Some(vec![port(443), method()])), false),
        (about(Some(vec![port(80)])), true),
        (about(Some(vec![port(80), method()])), true),
        (Limits::Each(vec![]), true),
        (Limits::Closed, false),
    ] {
        for (mode, passes) in [(Mode::Enforce, enforced), (Mode::Observe, true)] {
            let limits = RateLimit { name: "shop/p@s".into(), mode, limits: what.clone() };
            let upserts = vec![Resource::RateLimit(Arc::new(limits))];
            let (snapshot, changes) = Snapshot::default().apply(Delta { upserts, ..Delta::default() });
            let tables = Tables::default().next(&snapshot, &changes, &mut Registry::default()).unwrap();
            let source = RequestSource { peer: None, address: None, port: 443, asked: None };
            let at = |name: &str| Listener { limits: vec![name.into()], ..listener("l", None) };
            let (known, unknown) = (at("shop/p@s"), at("shop/q@s"));
            // At whichever level it is named.
            for level in 0..3 {
                let set = |named| {
                    let guards = |of| if of == level { Guards::Listener(named) } else { Guards::None };
                    PolicySet { listener: guards(0), rule: guards(1), service: guards(2) }
                };
                assert_eq!(set(&known).lets_bytes_pass(&tables, source), passes, "{level} {mode:?} {what:?}");
                assert!(!set(&unknown).lets_bytes_pass(&tables, source), "{level}: what is not known closes");
                // What closes holds for copies of requests too, which take no place.
                let is_closed = mode == Mode::Enforce && matches!(what, Limits::Closed);
                assert_eq!(are_closed(&tables, set(&known)), is_closed, "{level} {mode:?} {what:?}");
                assert!(are_closed(&tables, set(&unknown)), "{level}");
            }
        }
    }
}
