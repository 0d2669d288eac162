//! Generated policies, connections and requests. The values are few, so that conditions meet them.

use crate::{
    Action, Authorization, Cidr, CidrSet, Condition, GrpcMethodMatch, HeaderMatch, HostnamePattern, Level,
    Mode, PathCondition, PathMatch, Pattern, Rule, SpiffeId, TrustDomain, ValueMatch,
};
use http::{HeaderMap, HeaderValue, Method};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::IpAddr;
use std::sync::Arc;

/// What a policy is asked about.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub peer: Option<SpiffeId>,
    pub client: Option<IpAddr>,
    pub port: u16,
    pub request: Option<HttpSample>,
}

#[derive(Clone, Debug)]
pub(super) struct HttpSample {
    pub method: Method,
    pub host: String,
    pub path: String,
    pub headers: HeaderMap,
}

pub(super) fn trust_domain() -> TrustDomain {
    TrustDomain::new("cluster.local").unwrap()
}

pub(super) fn id(namespace: &str, account: &str) -> SpiffeId {
    SpiffeId::of_service_account(&trust_domain(), namespace, account).unwrap()
}

fn identity() -> impl Strategy<Value = SpiffeId> {
    let parts = (
        select(&["cluster.local", "elsewhere.example"][..]),
        select(&["shop", "other"][..]),
        select(&["a", "b"][..]),
    );
    parts.prop_map(|(domain, namespace, account)| {
        format!("spiffe://{domain}/ns/{namespace}/sa/{account}").parse().unwrap()
    })
}

fn port() -> impl Strategy<Value = u16> {
    select(&[80, 443, 8080][..])
}

fn method() -> impl Strategy<Value = Method> {
    select(vec![Method::GET, Method::POST, "get".parse().unwrap(), "PURGE".parse().unwrap()])
}

fn path() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "/",
            "*",
            "/admin",
            "/admin/",
            "/admin/users",
            "//admin",
            "/admin;x",
            "/;x/admin",
            "/%2Fadmin",
            "/;%2Fx/admin",
            "/admin;%2F",
            "/%252Fadmin",
            "/%2561dmin",
            "/a%2Fb",
            "/a/b",
            "/ADMIN",
            "/x;y/admin",
            "/admin%3Bx",
            "/a%5Cb",
            "/shop.Cart/Get",
            "/shop.Cart/Set",
            "//shop.Cart/Get",
            "/shop.Cart;v=1/Get",
            "/admin//users",
            "/a;v=1",
        ][..],
    )
}

pub(super) fn sample() -> impl Strategy<Value = Sample> {
    let address = select(
        &["10.0.0.1", "10.1.2.3", "::ffff:10.0.0.1", "192.0.2.7", "2001:db8::1", "::1", "::ffff:192.0.2.7"][..],
    );
    let host = select(&["example.com", "EXAMPLE.com.", "a.example.com:8080", "", "b.a.example.com"][..]);
    const ROLES: [&[u8]; 7] =
        [b"admin", b"user", b"", b"admin,user", b"user, admin", b"admin; user", b"\xff"];
    // What a condition is about more often than not, another spelling of it, and one that comes in pieces.
    let name = select(&["x-role", "x-role", "x-role", "x_role", "cookie", "cookie"][..]);
    let role = (name, select(&ROLES[..]));
    let request = (method(), host, path(), vec(role, 0..3)).prop_map(|(method, host, path, roles)| {
        let mut headers = HeaderMap::new();
        for (name, role) in roles {
            headers.append(name, HeaderValue::from_bytes(role).unwrap());
        }
        HttpSample { method, host: host.to_owned(), path: path.to_owned(), headers }
    });
    (of(identity()), of(address), port(), of(request)).prop_map(|(peer, client, port, request)| Sample {
        peer,
        client: client.map(|it| it.parse().unwrap()),
        port,
        request,
    })
}

pub(super) fn level() -> impl Strategy<Value = Level> {
    select(&[Level::Gateway, Level::Route, Level::Service, Level::Pod][..])
}

/// Authorizations have names of their own.
pub(super) fn authorization() -> impl Strategy<Value = Authorization> {
    let action = prop_oneof![2 => Just(Action::Allow), 1 => Just(Action::Deny)];
    let mode = prop_oneof![3 => Just(Mode::Enforce), 1 => Just(Mode::Observe)];
    (any::<u64>(), action, mode, vec(rule(), 0..3)).prop_map(|(number, action, mode, rules)| Authorization {
        name: format!("policy-{number}").into(),
        action,
        mode,
        rules,
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    vec(condition(), 0..3).prop_map(Rule::when)
}

fn condition() -> impl Strategy<Value = Condition> {
    let lists = vec(vec(single(), 0..3), 0..3).prop_map(Condition::AnyOf);
    prop_oneof![6 => single(), 1 => lists]
}

fn single() -> impl Strategy<Value = Condition> {
    let cidr = select(
        &[
            "10.0.0.0/8",
            "10.0.0.1",
            "::ffff:10.0.0.0/104",
            "0.0.0.0/0",
            "::/0",
            "2001:db8::/32",
            "192.0.2.0/24",
        ][..],
    );
    let cidrs = || vec(cidr.clone().prop_map(|it| it.parse::<Cidr>().unwrap()), 0..3);
    let namespaces = vec(select(&["shop", "other"][..]).prop_map(Arc::<str>::from), 0..2);
    let hosts = vec(
        select(&["example.com", "*.example.com"][..]).prop_map(|it| it.parse::<HostnamePattern>().unwrap()),
        0..2,
    );
    let paths = vec(path_match().prop_map(PathCondition::from), 0..3);
    let role = prop_oneof![
        select(&["admin", "user", "admin,user"][..]).prop_map(|it| ValueMatch::Exact(it.into())),
        Just(ValueMatch::Regex(Pattern::new("adm.*").unwrap())),
    ];
    prop_oneof![
        vec(identity(), 0..3).prop_map(Condition::PeerIs),
        vec(identity(), 0..3).prop_map(Condition::PeerIsNot),
        namespaces
            .prop_map(|namespaces| Condition::PeerNamespaceIs { trust_domain: trust_domain(), namespaces }),
        cidrs().prop_map(|it| Condition::ClientIn(CidrSet::from_iter(it))),
        cidrs().prop_map(|it| Condition::ClientNotIn(CidrSet::from_iter(it))),
        vec(port(), 0..3).prop_map(Condition::PortIs),
        hosts.prop_map(Condition::HostIs),
        vec(method(), 0..3).prop_map(Condition::MethodIs),
        paths.prop_map(Condition::PathIs),
        (select(&["x-role", "x_role", "cookie"][..]), role)
            .prop_map(|(name, value)| HeaderMatch { name: name.parse().unwrap(), value })
            .prop_map(Condition::HeaderIs),
        Just(Condition::NotUnderstood("moon phase".into())),
    ]
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    let value = || of(select(&["shop.Cart", "Get"][..]).prop_map(|it| ValueMatch::Exact(it.into())));
    prop_oneof![
        path().prop_map(|it| PathMatch::Exact(it.into())),
        path().prop_map(|it| PathMatch::Prefix(it.trim_end_matches('/').into())),
        Just(PathMatch::Regex(Pattern::new("/[a-z]+").unwrap())),
        (value(), value()).prop_map(|(service, method)| PathMatch::Grpc(GrpcMethodMatch { service, method })),
    ]
}
