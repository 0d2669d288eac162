use super::{PERMISSIVE, STRICT, address, id, ip, pod};
use crate::decide::{Affected, Established, InboundRefusal, Index, OpenConnections, Revoked, is_admitted};
use fairway_balance::Locality;
use fairway_config::Delta;
use fairway_config::model::{
    Mesh, Probe, ProbeAction, Resource, ResourceKey, ResourceKind, Workload, WorkloadKey,
};
use fairway_policy::{Action, Authorization, Condition, PolicyRefusal, Rule, SpiffeId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is changed, by which upserts and removals, and the connections that end.
type Case = (&'static str, Vec<Resource>, Vec<ResourceKey>, Vec<&'static str>);

/// A configuration in force, and the connections that are open under it.
struct Node {
    index: Index,
    open: OpenConnections<(WorkloadKey, usize)>,
}

impl Node {
    fn new() -> Self {
        Self { index: Index::empty(Locality::default()), open: OpenConnections::default() }
    }

    /// A commit; gives the connections that end by it, with the reason.
    fn commit(&mut self, upserts: Vec<Resource>, removals: Vec<ResourceKey>) -> BTreeMap<usize, String> {
        let before = self.index.snapshot().clone();
        let (next, changes) = before.apply(Delta { upserts, removals, ..Default::default() });
        self.index = self.index.update(&next, &changes);
        let affected = Affected::by(&before, &next, &changes);
        let index = &self.index;
        let judge = |handle: &(WorkloadKey, usize), it: &Established| judge(index, &handle.0, it);
        let ended = self.open.review(index, &affected, judge);
        ended.into_iter().map(|((_, number), why)| (number, why.to_string())).collect()
    }

    fn open(&mut self, number: usize, pod: &str, established: &Established) {
        let pod = WorkloadKey::from(pod);
        self.open.insert(pod.clone(), established.clone(), (pod, number));
    }
}

fn judge(index: &Index, pod: &WorkloadKey, established: &Established) -> Result<(), Revoked> {
    let workload = index.workload(pod).map(|it| &**it);
    let addresses = workload.map(|it| &it.addresses[..]).unwrap_or_default();
    is_admitted(index, workload, addresses, established)
}

fn workload(it: Workload) -> Resource {
    Resource::Workload(Arc::new(it))
}

fn policy(name: &str, action: Action, conditions: Vec<Condition>) -> Resource {
    let rules = vec![Rule::when(conditions)];
    Resource::Authorization(Arc::new(Authorization::new(name, action, rules)))
}

fn server(mesh: Mesh, authorizations: &[&str]) -> Workload {
    pod("shop", "server", "10.0.0.2", mesh, authorizations)
}

fn tunnelled(account: &str, port: u16) -> Established {
    let destination = address(&format!("10.0.0.2:{port}"));
    Established::Tunnelled { peer: id("shop", account), address: ip("10.0.0.1"), destination }
}

fn plaintext(from_node: bool, port: u16, probes_only: bool) -> Established {
    let destination = address(&format!("10.0.0.2:{port}"));
    Established::Plaintext { from_node, address: ip("10.9.9.9"), destination, probes_only }
}

fn outgoing(to: Option<(&str, &str)>) -> Established {
    Established::Outgoing { far: to.map(|(address, account)| (ip(address), id("shop", account))) }
}

#[test]
fn a_change_ends_the_connections_that_it_would_refuse_and_no_others() {
    let probed = |mesh| Workload {
        probes: vec![Probe { port: 8080, action: ProbeAction::Connect }],
        ..server(mesh, &["policy"])
    };
    let connections = [
        ("in from a", "shop/server", tunnelled("a", 8080)),
        ("in from b", "shop/server", tunnelled("b", 8080)),
        ("in from a at 9090", "shop/server", tunnelled("a", 9090)),
        ("plaintext", "shop/server", plaintext(false, 8080, false)),
        ("plaintext of the node", "shop/server", plaintext(true, 8080, false)),
        ("probe", "shop/server", plaintext(true, 8080, true)),
        ("out in a tunnel", "shop/server", outgoing(Some(("10.0.0.3", "peer")))),
        ("out in plaintext", "shop/server", outgoing(None)),
        ("of another pod", "shop/other", tunnelled("b", 8080)),
    ];
    let other = || {
        workload(Workload {
            addresses: vec![ip("10.0.0.2")],
            ..pod("shop", "other", "10.0.0.2", PERMISSIVE, &[])
        })
    };
    let peer = |account: &str| {
        workload(Workload { identity: id("shop", account), ..pod("shop", "peer", "10.0.0.3", STRICT, &[]) })
    };
    let nothing = || policy("policy", Action::Deny, vec![Condition::PortIs(vec![])]);
    let begin = || vec![workload(probed(PERMISSIVE)), nothing(), other(), peer("peer")];
    let key = |kind, name: &str| ResourceKey::new(kind, name);
    let all_in = ["in from a", "in from b", "in from a at 9090", "plaintext", "plaintext of the node"];
    let cases: Vec<Case> = vec![
        ("nothing", vec![nothing()], vec![], vec![]),
        ("another pod", vec![workload(pod("shop", "third", "10.0.0.7", STRICT, &[]))], vec![], vec![]),
        ("a policy that nothing names", vec![policy("unnamed", Action::Deny, vec![])], vec![], vec![]),
        ("strict", vec![workload(probed(STRICT))], vec![], vec!["plaintext", "plaintext of the node"]),
        (
            "a Deny of b",
            vec![policy("policy", Action::Deny, vec![Condition::PeerIs(vec![id("shop", "b")])])],
            vec![],
            vec!["in from b"],
        ),
        (
            "an Allow of a at 8080",
            vec![policy(
                "policy",
                Action::Allow,
                vec![Condition::PeerIs(vec![id("shop", "a")]), Condition::PortIs(vec![8080])],
            )],
            vec![],
            vec!["in from b", "in from a at 9090", "plaintext", "plaintext of the node"],
        ),
        (
            "an Allow of an address",
            vec![policy(
                "policy",
                Action::Allow,
                vec![Condition::ClientIn(["10.0.0.1".parse().unwrap()].into_iter().collect())],
            )],
            vec![],
            vec!["plaintext", "plaintext of the node"],
        ),
        (
            "a condition that is not understood",
            vec![policy("policy", Action::Deny, vec![Condition::NotUnderstood("x".into())])],
            vec![],
            all_in.to_vec(),
        ),
        ("the policy is gone", vec![], vec![key(ResourceKind::Authorization, "policy")], all_in.to_vec()),
        (
            "another policy is named",
            vec![workload(Workload { authorizations: vec!["unheard-of".into()], ..probed(PERMISSIVE) })],
            vec![],
            all_in.to_vec(),
        ),
        (
            "the probe is gone, and strict",
            vec![workload(server(STRICT, &["policy"]))],
            vec![],
            vec!["plaintext", "plaintext of the node", "probe"],
        ),
        ("the pod leaves the mesh", vec![workload(probed(Mesh::Outside))], vec![], vec![]),
        ("the pod is gone", vec![], vec![key(ResourceKind::Workload, "shop/server")], vec![]),
        ("the far end is another", vec![peer("else")], vec![], vec!["out in a tunnel"]),
        ("the far end is gone", vec![], vec![key(ResourceKind::Workload, "shop/peer")], vec![]),
        (
            "another pod takes the far end's address over",
            vec![workload(pod("shop", "a-new-one", "10.0.0.3", STRICT, &[]))],
            vec![],
            vec![],
        ),
    ];
    for (change, upserts, removals, expected) in cases {
        let mut node = Node::new();
        node.commit(begin(), vec![]);
        for (number, (_, pod, established)) in connections.iter().enumerate() {
            node.open(number, pod, established);
        }
        let ended = node.commit(upserts, removals);
        let names: BTreeSet<_> = ended.keys().map(|number| connections[*number].0).collect();
        assert_eq!(names, expected.into_iter().collect(), "{change}: {ended:?}");
        assert_eq!(node.open.len(), connections.len() - names.len(), "{change}");
    }
}

#[test]
fn the_reason_says_what_changed() {
    let mut node = Node::new();
    node.commit(
        vec![workload(server(PERMISSIVE, &[])), workload(pod("shop", "peer", "10.0.0.3", STRICT, &[]))],
        vec![],
    );
    node.open(0, "shop/server", &plaintext(false, 8080, false));
    node.open(1, "shop/server", &outgoing(Some(("10.0.0.3", "peer"))));
    let moved = Workload { identity: id("shop", "else"), ..pod("shop", "peer", "10.0.0.3", STRICT, &[]) };
    let ended = node.commit(vec![workload(server(STRICT, &[])), workload(moved)], vec![]);
    assert_eq!(ended[&0], "the configuration changed: this pod takes mTLS only");
    assert_eq!(
        ended[&1],
        "the configuration changed: 10.0.0.3 belongs to spiffe://cluster.local/ns/shop/sa/else, not to \
         spiffe://cluster.local/ns/shop/sa/peer"
    );
}

#[test]
fn a_revoked_connection_has_the_reason_of_what_refuses_it_now() {
    let other =
        Revoked::OtherIdentity { address: ip("10.0.0.3"), was: id("shop", "peer"), now: id("shop", "else") };
    let refused = |refusal: InboundRefusal| Revoked::from(refusal).reason();
    let policy = PolicyRefusal::Unknown { policy: "policy".into() };
    assert_eq!(refused(InboundRefusal::Policy(policy)), "denied");
    assert_eq!(refused(InboundRefusal::Strict), "strict");
    assert_eq!(refused(InboundRefusal::ProbesOnly), "probes_only");
    assert_eq!(other.reason(), "other_identity");
}

fn accounts() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["a", "b"][..])
}

fn a_connection() -> impl Strategy<Value = (String, Established)> {
    let port = prop::sample::select(&[8080_u16, 9090][..]);
    let far = prop::option::of((0..4_u8, accounts()));
    let kind = prop_oneof![
        (accounts(), port.clone(), 0..4_u8).prop_map(|(peer, port, last)| Established::Tunnelled {
            peer: id("shop", peer),
            address: ip("10.9.0.1"),
            destination: address(&format!("10.0.0.{last}:{port}")),
        }),
        (any::<bool>(), port, 0..4_u8, any::<bool>()).prop_map(|(from_node, port, last, probes_only)| {
            let destination = address(&format!("10.0.0.{last}:{port}"));
            Established::Plaintext { from_node, address: ip("10.9.0.2"), destination, probes_only }
        }),
        far.prop_map(|far| Established::Outgoing {
            far: far.map(|(last, account)| (ip(&format!("10.0.0.{last}")), id("shop", account))),
        }),
    ];
    (0..4_u8, kind).prop_map(|(name, kind)| (format!("shop/pod{name}"), kind))
}

fn an_edit() -> impl Strategy<Value = (Vec<Resource>, Vec<ResourceKey>)> {
    let mesh = prop::sample::select(&[PERMISSIVE, STRICT, Mesh::Outside][..]);
    let named = prop::sample::subsequence(vec!["one", "two"], 0..=2);
    let a_pod = (0..4_u8, 0..4_u8, accounts(), mesh, named, any::<bool>()).prop_map(
        |(name, last, account, mesh, named, probed)| {
            let probes = probed.then_some(Probe { port: 8080, action: ProbeAction::Connect });
            let it = pod("shop", &format!("pod{name}"), &format!("10.0.0.{last}"), mesh, &named);
            workload(Workload { identity: id("shop", account), probes: probes.into_iter().collect(), ..it })
        },
    );
    let condition = prop_oneof![
        prop::collection::vec(accounts().prop_map(|it| id("shop", it)), 0..2).prop_map(Condition::PeerIs),
        prop::collection::vec(accounts().prop_map(|it| -> SpiffeId { id("shop", it) }), 0..2)
            .prop_map(Condition::PeerIsNot),
        Just(Condition::PortIs(vec![8080])),
    ];
    let action = prop_oneof![Just(Action::Allow), Just(Action::Deny)];
    let a_policy =
        (prop::sample::select(&["one", "two"][..]), action, prop::collection::vec(condition, 0..2))
            .prop_map(|(name, action, conditions)| policy(name, action, conditions));
    let gone = prop_oneof![
        (0..4_u8).prop_map(|it| ResourceKey::new(ResourceKind::Workload, format!("shop/pod{it}"))),
        prop::sample::select(&["one", "two"][..])
            .prop_map(|it| ResourceKey::new(ResourceKind::Authorization, it)),
    ];
    (prop::collection::vec(prop_oneof![a_pod, a_policy], 0..3), prop::collection::vec(gone, 0..2))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn after_any_commit_those_are_open_that_would_be_admitted_anew(
        edits in prop::collection::vec((an_edit(), prop::collection::vec(a_connection(), 0..6)), 1..8),
    ) {
        let mut node = Node::new();
        let mut expected = BTreeMap::new();
        let mut next = 0;
        for ((upserts, removals), connections) in edits {
            let ended = node.commit(upserts, removals);
            let before: BTreeSet<usize> = expected.keys().copied().collect();
            // From nothing: neither the index nor what a commit affects is asked.
            let rebuilt = Index::build(Locality::default(), node.index.snapshot());
            expected.retain(|_, (pod, it): &mut (WorkloadKey, Established)| judge(&rebuilt, pod, it).is_ok());
            let gone: BTreeSet<usize> = before.into_iter().filter(|it| !expected.contains_key(it)).collect();
            prop_assert_eq!(ended.keys().copied().collect::<BTreeSet<_>>(), gone);
            prop_assert_eq!(node.open.len(), expected.len());
            for (pod, established) in connections {
                if judge(&node.index, &pod.as_str().into(), &established).is_ok() {
                    node.open(next, &pod, &established);
                    expected.insert(next, (pod.as_str().into(), established));
                    next += 1;
                }
            }
        }
    }
}

#[test]
fn a_connection_that_ended_is_not_found_any_more() {
    let mut open = OpenConnections::default();
    let numbers: Vec<_> = [tunnelled("a", 80), outgoing(Some(("10.0.0.3", "b"))), outgoing(None)]
        .into_iter()
        .map(|it| open.insert("shop/server".into(), it, ()))
        .collect();
    for number in numbers {
        assert!(open.remove(number).is_some());
        assert!(open.remove(number).is_none());
    }
    assert!(open.is_empty());
    assert_eq!(format!("{open:?}").matches("shop/server").count(), 0, "nothing is left behind");
}

/// 10,000 connections: into and out of 100 pods, to 1,000 far ends; and a commit of a pod elsewhere and of a policy that no
/// local pod names.
fn many() -> (Node, Index, Affected) {
    let mut node = Node::new();
    let local = (0..100_u8)
        .map(|it| workload(pod("shop", &format!("local{it}"), &format!("10.1.0.{it}"), STRICT, &["policy"])));
    let allow = policy("policy", Action::Allow, vec![Condition::PeerIs(vec![id("shop", "a")])]);
    node.commit(local.chain([allow]).collect(), vec![]);
    for number in 0..10_000_usize {
        let (pod, last) = (format!("shop/local{}", number % 100), number % 100);
        let far = ip(&format!("10.2.{}.{}", number % 1000 / 250, number % 250));
        let established = match number % 2 {
            0 => Established::Tunnelled {
                peer: id("shop", "a"),
                address: far,
                destination: address(&format!("10.1.0.{last}:8080")),
            },
            _ => Established::Outgoing { far: Some((far, id("shop", "far"))) },
        };
        node.open(number, &pod, &established);
    }
    let before = node.index.snapshot().clone();
    let elsewhere = workload(pod("other", "elsewhere", "10.3.0.1", STRICT, &[]));
    let upserts = vec![elsewhere, policy("unnamed", Action::Deny, vec![])];
    let (next, changes) = before.apply(Delta { upserts, ..Default::default() });
    let index = node.index.update(&next, &changes);
    let affected = Affected::by(&before, &next, &changes);
    (node, index, affected)
}

#[test]
fn a_commit_that_concerns_no_open_connection_judges_none() {
    let (mut node, index, affected) = many();
    let judged = std::cell::Cell::new(0);
    let ended = node.open.review(&index, &affected, |(pod, _), it| {
        judged.set(judged.get() + 1);
        judge(&index, pod, it)
    });
    assert_eq!((ended.len(), judged.get(), node.open.len()), (0, 0, 10_000));
}

/// Prints what a worker spends on such a commit.
#[test]
#[ignore = "a measurement"]
fn what_a_commit_costs_with_ten_thousand_open_connections() {
    let (mut node, index, affected) = many();
    let begin = tokio::time::Instant::now();
    for _ in 0..1000 {
        let ended = node.open.review(&index, &affected, |(pod, _), it| judge(&index, pod, it));
        assert!(ended.is_empty());
    }
    println!("{:?} for each commit", begin.elapsed() / 1000);
}
