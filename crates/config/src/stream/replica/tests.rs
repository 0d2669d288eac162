use super::*;
use crate::model::{AppProtocol, Backend, BackendKey, Endpoints, Resource, ServiceKey};
use crate::stream::fragments;
use crate::{Changes, wire};
use bytes::Bytes;
use std::sync::Arc;

/// Takes all but what it was told to refuse; remembers what it was given.
#[derive(Default)]
struct Proxy {
    refuse: Vec<ResourceKey>,
    applied: Vec<(Generation, Changes)>,
}

impl Apply for Proxy {
    fn apply(&mut self, next: &Snapshot, changes: &Changes) -> Result<(), Vec<Rejected>> {
        let refused: Vec<_> = changes.iter().filter(|key| self.refuse.contains(key)).collect();
        if refused.is_empty() {
            self.applied.push((next.generation, changes.clone()));
            return Ok(());
        }
        Err(refused.into_iter().map(|key| Rejected { key: key.clone(), reason: "no".to_owned() }).collect())
    }
}

fn backend(name: &str, port: u16) -> Resource {
    Resource::Backend(Arc::new(Backend {
        key: BackendKey::from(name),
        service: ServiceKey::from("shop/it"),
        port,
        protocol: AppProtocol::Http1,
        security: crate::model::BackendSecurity::Plain,
        via: None,
        authorizations: vec![],
        limits: vec![],
        authentications: vec![],
    }))
}

fn delta(upserts: &[Resource], removals: &[Resource]) -> Vec<proto::FromController> {
    let upserts = upserts.iter().map(|it| Arc::new(wire::encode(it))).collect();
    fragments(upserts, removals.iter().map(Resource::key).collect()).collect()
}

fn commit(generation: u64) -> proto::FromController {
    proto::FromController { message: Some(Message::Commit(proto::Commit { generation })) }
}

fn upsert(message: &mut proto::FromController) -> &mut proto::Upsert {
    match &mut message.message {
        Some(Message::Fragment(it)) => &mut it.upserts[0],
        other => panic!("{other:?}"),
    }
}

/// Feeds messages; the answer to the last one.
fn feed(
    replica: &mut Replica,
    proxy: &mut Proxy,
    messages: Vec<proto::FromController>,
) -> Option<CommitResponse> {
    let mut answer = None;
    for message in messages {
        answer = replica.receive(message, proxy).unwrap();
    }
    answer
}

fn reasons(answer: Option<CommitResponse>) -> Vec<String> {
    match answer {
        Some(CommitResponse::Nack { rejected, .. }) => rejected.into_iter().map(|it| it.reason).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_visible_before_the_commit() {
    let (mut replica, mut proxy) = (Replica::default(), Proxy::default());
    assert_eq!(feed(&mut replica, &mut proxy, delta(&[backend("a", 1)], &[])), None);
    assert_eq!((replica.snapshot().backends.len(), replica.held().count(), proxy.applied.len()), (0, 0, 0));
    assert_eq!(feed(&mut replica, &mut proxy, vec![commit(7)]), Some(CommitResponse::Ack(Generation(7))));
    assert_eq!((replica.snapshot().backends.len(), replica.held().count()), (1, 1));
    assert_eq!(proxy.applied, vec![(Generation(7), Changes::from([backend("a", 1).key()]))]);
}

#[test]
fn a_difference_cut_off_before_its_commit_leaves_no_trace() {
    let (mut replica, mut proxy) = (Replica::default(), Proxy::default());
    feed(&mut replica, &mut proxy, delta(&[backend("a", 1)], &[]));
    replica.disconnected();
    feed(&mut replica, &mut proxy, delta(&[backend("b", 1)], &[]));
    feed(&mut replica, &mut proxy, vec![commit(1)]);
    assert!(!replica.snapshot().backends.contains_key("a"));
    assert!(replica.snapshot().backends.contains_key("b"));
}

#[test]
fn a_refused_difference_is_dropped_whole_and_the_one_before_stays() {
    let (mut replica, mut proxy) = (Replica::default(), Proxy::default());
    feed(&mut replica, &mut proxy, delta(&[backend("a", 1), backend("b", 1)], &[]));
    feed(&mut replica, &mut proxy, vec![commit(1)]);
    let before = (replica.snapshot().clone(), replica.hashes.clone());

    proxy.refuse = vec![backend("b", 2).key()];
    feed(&mut replica, &mut proxy, delta(&[backend("b", 2), backend("c", 1)], &[backend("a", 1)]));
    assert_eq!(reasons(feed(&mut replica, &mut proxy, vec![commit(2)])), ["no"]);
    assert_eq!((replica.snapshot().clone(), replica.hashes.clone()), before);
    assert_eq!(replica.refused().map(|it| it.key).collect::<Vec<_>>(), [backend("b", 2).key()]);

    feed(&mut replica, &mut proxy, delta(&[backend("c", 1)], &[backend("a", 1)]));
    assert_eq!(feed(&mut replica, &mut proxy, vec![commit(2)]), Some(CommitResponse::Ack(Generation(2))));
    assert_eq!(replica.snapshot().backends.get("b").map(|it| it.port), Some(1), "its last good version");
    assert!(replica.snapshot().backends.contains_key("c") && !replica.snapshot().backends.contains_key("a"));
    assert_eq!(replica.refused().count(), 1, "still known as refused");

    proxy.refuse.clear();
    feed(&mut replica, &mut proxy, delta(&[backend("b", 3)], &[]));
    feed(&mut replica, &mut proxy, vec![commit(3)]);
    assert_eq!(replica.refused().count(), 0);
}

#[test]
fn a_resource_that_is_not_what_it_says_is_refused_and_named_and_apply_never_sees_it() {
    let wrong_bytes: fn(&mut proto::Upsert) = |it| {
        it.resource = Bytes::from_static(b"\xff\xff");
        it.size = 2;
        it.hash = Bytes::copy_from_slice(ContentHash::compute(&it.resource).as_bytes());
    };
    let wrong_hash: fn(&mut proto::Upsert) = |it| it.hash = Bytes::from_static(&[0; 16]);
    let wrong_key: fn(&mut proto::Upsert) = |it| it.key = Some(wire::encode_key(&backend("other", 1).key()));
    let unknown_kind: fn(&mut proto::Upsert) =
        |it| it.key = Some(proto::ResourceKey { kind: 99, name: "a".to_owned() });
    for (spoil, reason) in [
        (wrong_bytes, "failed to decode"),
        (wrong_hash, "do not have the hash"),
        (wrong_key, "came under this key and is Backend a"),
        (unknown_kind, "99 is not a value that this program knows"),
    ] {
        let (mut replica, mut proxy) = (Replica::default(), Proxy::default());
        let mut messages = delta(&[backend("a", 1), backend("b", 1)], &[]);
        spoil(upsert(&mut messages[0]));
        feed(&mut replica, &mut proxy, messages);
        let given = reasons(feed(&mut replica, &mut proxy, vec![commit(1)]));
        assert!(given.len() == 1 && given[0].contains(reason), "{given:?}");
        assert_eq!((proxy.applied.len(), replica.snapshot().backends.len()), (0, 0));
    }
}

#[test]
fn a_new_controller_may_count_from_one_again() {
    let (mut replica, mut proxy) = (Replica::default(), Proxy::default());
    feed(&mut replica, &mut proxy, delta(&[backend("a", 1)], &[]));
    feed(&mut replica, &mut proxy, vec![commit(900)]);
    feed(&mut replica, &mut proxy, delta(&[backend("a", 2)], &[]));
    assert_eq!(feed(&mut replica, &mut proxy, vec![commit(1)]), Some(CommitResponse::Ack(Generation(1))));
    assert_eq!(replica.snapshot().backends.get("a").map(|it| it.port), Some(2));
}

#[test]
fn a_resource_bigger_than_a_message_comes_in_parts() {
    let (mut replica, mut proxy) = (Replica::default(), Proxy::default());
    let big: Vec<_> = (0..60_000_u32)
        .map(|i| crate::model::Endpoint {
            address: (std::net::Ipv4Addr::from(i), 80).into(),
            state: crate::model::EndpointState::Ready,
            identity: None,
            node: Some("a-node-with-a-name".into()),
            hints: None,
        })
        .collect();
    let big = Resource::Endpoints(Arc::new(Endpoints::of_anybody("a".into(), big)));
    let messages = delta(&[big, backend("b", 1)], &[]);
    assert!(messages.len() > 1);

    let mut interrupted = messages.clone();
    interrupted.truncate(1);
    feed(&mut replica, &mut proxy, interrupted);
    let broken = replica.receive(commit(1), &mut proxy).unwrap_err();
    assert_eq!(broken, BrokenProtocol::Interrupted("a".to_owned()));
    replica.disconnected();

    feed(&mut replica, &mut proxy, messages);
    assert_eq!(feed(&mut replica, &mut proxy, vec![commit(1)]), Some(CommitResponse::Ack(Generation(1))));
    assert_eq!(replica.snapshot().endpoints.get("a").map(|it| it.endpoints.len()), Some(60_000));
}

#[test]
fn answers_are_bounded_whatever_is_refused() {
    let (mut replica, mut proxy) = (Replica::default(), Proxy::default());
    let many: Vec<_> = (0..3000).map(|i| backend(&format!("b{i}"), 1)).collect();
    let mut messages = delta(&many, &[]);
    for message in &mut messages {
        if let Some(Message::Fragment(it)) = &mut message.message {
            it.upserts.iter_mut().for_each(|it| it.hash = Bytes::new());
        }
    }
    feed(&mut replica, &mut proxy, messages);
    assert_eq!(reasons(feed(&mut replica, &mut proxy, vec![commit(1)])).len(), MOST_REASONS);
    assert_eq!(shorten_reason(&"é".repeat(LONGEST_REASON)).len(), LONGEST_REASON);
}

#[test]
fn a_message_without_content_ends_the_conversation() {
    let broken = Replica::default().receive(proto::FromController { message: None }, &mut Proxy::default());
    assert_eq!(broken, Err(BrokenProtocol::UnknownMessage));
}

#[test]
fn a_removal_of_an_unknown_kind_is_nothing_to_do() {
    let (mut replica, mut proxy) = (Replica::default(), Proxy::default());
    let removals = vec![proto::ResourceKey { kind: 99, name: "a".to_owned() }];
    let fragment = proto::Fragment { upserts: vec![], removals };
    feed(
        &mut replica,
        &mut proxy,
        vec![proto::FromController { message: Some(Message::Fragment(fragment)) }],
    );
    assert_eq!(feed(&mut replica, &mut proxy, vec![commit(1)]), Some(CommitResponse::Ack(Generation(1))));
}
