//! What a verdict costs, and the most that it may cost. `cargo bench -p fairway-policy`.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::disallowed_types, reason = "a bench: it measures real time")]

use fairway_policy::{
    Action, Attached, Attributes, Authorization, Cidr, CidrSet, Condition, HeaderMatch, Level, Path,
    PathMatch, Request, Rule, SpiffeId, ValueMatch, evaluate,
};
use http::{HeaderMap, HeaderValue, Method};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let results = [
        measure("10 rules over a request, the last one matches", Duration::from_nanos(500), ten_rules()),
        measure("10,000 ranges of addresses, one evaluation", Duration::from_micros(1), many_ranges()),
        measure("a tunnel's policy: 3 identities, a port", Duration::from_nanos(200), of_a_tunnel()),
    ];
    if results.iter().all(|it| *it) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what one call takes, and says whether that is within the limit.
fn measure(name: &str, limit: Duration, mut call: impl FnMut() -> bool) -> bool {
    const CALLS: u32 = 20_000;
    let mut round = || {
        let begin = Instant::now();
        for _ in 0..CALLS {
            assert!(black_box(call()), "{name}");
        }
        begin.elapsed() / CALLS
    };
    // The best of some rounds: others have this machine too.
    let best = (0..20).map(|_| round()).min().unwrap_or_default();
    println!("{name:<50} {best:>10.1?}  (at most {limit:?})");
    best <= limit
}

fn id(account: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/shop/sa/{account}").parse().expect("an identity")
}

fn ten_rules() -> impl FnMut() -> bool {
    let rules = (0..10).map(|number| {
        Rule::when(vec![
            Condition::PeerIs(vec![id("other"), id("web")]),
            Condition::MethodIs(vec![Method::GET, Method::POST]),
            Condition::PathIs(vec![PathMatch::Prefix(format!("/api/v{number}").into()).into()]),
            Condition::HeaderIs(HeaderMatch {
                name: "x-tenant".parse().expect("a name"),
                value: ValueMatch::Exact("blue".into()),
            }),
        ])
    });
    let policy = Authorization::new("shop/api", Action::Allow, rules.collect());
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from_static("blue"));
    headers.insert("user-agent", HeaderValue::from_static("bench"));
    let peer = id("web");
    move || {
        // The folded path is made once for a request, and is part of what a policy costs.
        let path = Path::new(black_box("/api/v9/carts/17"));
        let request =
            Request { method: &Method::GET, host: "shop.example.com", path: &path, headers: &headers };
        let attributes = Attributes { peer: Some(&peer), client: None, port: 80, request: Some(request) };
        let attached = [Attached { level: Level::Route, name: &policy.name, authorization: Some(&policy) }];
        evaluate(attached, &attributes).verdict.is_allowed()
    }
}

fn many_ranges() -> impl FnMut() -> bool {
    let v4 = (0..5_000_u32).map(|it| (IpAddr::from(Ipv4Addr::from_bits(it << 12)), 24));
    let v6 = (0..5_000_u128).map(|it| (IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | it << 64)), 80));
    let ranges: CidrSet =
        v4.chain(v6).map(|(first, length)| Cidr::new(first, length).expect("a range")).collect();
    assert_eq!(ranges.cidrs().len(), 10_000);
    let policy =
        Authorization::new("shop/ranges", Action::Allow, vec![Rule::when(vec![Condition::ClientIn(ranges)])]);
    let clients: [IpAddr; 4] = [
        Ipv4Addr::from_bits(4_999 << 12 | 7).into(),
        Ipv6Addr::from_bits(0x2001_0db8 << 96 | 4_321 << 64 | 9).into(),
        Ipv4Addr::from_bits(1 << 12 | 255).to_ipv6_mapped().into(),
        Ipv4Addr::from_bits(2_500 << 12).into(),
    ];
    let mut next = 0;
    move || {
        next = (next + 1) % clients.len();
        let client = clients.get(next).copied();
        let attributes = Attributes { peer: None, client, port: 80, request: None };
        let attached = [Attached { level: Level::Gateway, name: &policy.name, authorization: Some(&policy) }];
        evaluate(attached, &attributes).verdict.is_allowed()
    }
}

fn of_a_tunnel() -> impl FnMut() -> bool {
    let peers = Condition::PeerIs(vec![id("a"), id("b"), id("web")]);
    let policy = Authorization::new(
        "shop/tunnel",
        Action::Allow,
        vec![Rule::when(vec![peers, Condition::PortIs(vec![8080])])],
    );
    let peer = id("web");
    move || {
        let attributes = Attributes { peer: Some(black_box(&peer)), client: None, port: 8080, request: None };
        let attached = [Attached { level: Level::Pod, name: &policy.name, authorization: Some(&policy) }];
        evaluate(attached, &attributes).verdict.is_allowed()
    }
}
