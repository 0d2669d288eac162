//! Connections of which only the bytes are known: TCP, TLS that goes on as it is, datagrams.

use super::super::{PolicySet, RequestSource};
use super::policy;
use crate::table::Tables;
use crate::upstream::cluster::Registry;
use fairway_config::model::{AuthorizationKey, PathMatch, Resource};
use fairway_config::{Delta, Snapshot};
use fairway_policy::{Action, Authorization, Cidr, Condition};
use http::Method;
use std::sync::Arc;

fn lets_in(authorization: Authorization, address: &str) -> bool {
    let names = [AuthorizationKey::from(&*authorization.name)];
    let upserts = vec![Resource::Authorization(Arc::new(authorization))];
    let (snapshot, changes) = Snapshot::default().apply(Delta { upserts, ..Delta::default() });
    let tables = Tables::default().next(&snapshot, &changes, &mut Registry::default()).unwrap();
    let entry = PolicySet { listener: &names, ..PolicySet::default() };
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
