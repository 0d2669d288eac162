//! A cluster watched through everything that happens to connections, servers and CRDs.

mod server;

pub(crate) use server::Server;

use super::{Changes, Cluster, FeedState};
use crate::resources::{ClusterTrustBundle, Edit, Kind, Object};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

fn namespace(name: &str, team: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "team": team } } })
}

fn route(name: &str, path: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "shop", "uid": name },
        "spec": {
            "parentRefs": [{ "name": "edge" }],
            "rules": [{ "matches": [{ "path": { "type": "PathPrefix", "value": path } }] }],
        },
    })
}

/// Edits in short: `+Namespace shop`, `-HTTPRoute shop/a`. Without the object that stands for a kind.
fn short(changes: &Changes) -> Vec<String> {
    let mut out: Vec<String> = changes
        .edits
        .iter()
        .filter(|it| it.object() != ClusterTrustBundle::of_kind().reference())
        .map(|it| match it {
            Edit::Upsert(it) => format!("+{}", it.reference()),
            Edit::Remove(it) => format!("-{it}"),
        })
        .collect();
    out.sort();
    out
}

async fn next(cluster: &mut Cluster) -> Vec<String> {
    let changes = timeout(Duration::from_secs(120), cluster.next_changes()).await;
    short(&changes.expect("a change").expect("no end"))
}

/// Nothing comes for longer than any pause after a failure.
async fn nothing(cluster: &mut Cluster) {
    let changes = timeout(Duration::from_secs(60), cluster.next_changes()).await;
    assert!(changes.is_err(), "{:?}", changes.map(|it| it.map(|it| short(&it))));
}

#[tokio::test(start_paused = true)]
async fn the_first_changes_are_everything_in_one_piece() {
    let server = Server::new();
    for index in 0..1200 {
        server.put(Kind::Namespace, namespace(&format!("n{index}"), "a"));
    }
    server.put(Kind::HttpRoute, route("a", "/"));
    let mut cluster = Cluster::watch(server.client());
    assert_eq!(next(&mut cluster).await.len(), 1201);
    nothing(&mut cluster).await;
    let pages = server
        .take_requests()
        .iter()
        .filter(|it| it.contains("namespaces?") && it.contains("limit="))
        .count();
    assert_eq!(pages, 3);
}

#[tokio::test(start_paused = true)]
async fn an_empty_cluster_is_told_too() {
    let mut cluster = Cluster::watch(Server::new().client());
    assert!(next(&mut cluster).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_change_comes_within_milliseconds_and_many_come_together() {
    let server = Server::new();
    let mut cluster = Cluster::watch(server.client());
    next(&mut cluster).await;

    let before = Instant::now();
    server.put(Kind::HttpRoute, route("a", "/"));
    assert_eq!(next(&mut cluster).await, ["+HTTPRoute shop/a"]);
    assert!(before.elapsed() < Duration::from_millis(50), "{:?}", before.elapsed());

    for index in 0..1000 {
        server.put(Kind::HttpRoute, route(&format!("r{index}"), "/"));
    }
    let (mut seen, mut batches) = (0, 0);
    while seen < 1000 {
        seen += next(&mut cluster).await.len();
        batches += 1;
    }
    assert!(batches <= 3, "{batches} batches");
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_connection_only_what_changed_comes() {
    let server = Server::new();
    server.put(Kind::HttpRoute, route("a", "/"));
    server.put(Kind::HttpRoute, route("b", "/"));
    server.put(Kind::HttpRoute, route("c", "/"));
    let mut cluster = Cluster::watch(server.client());
    next(&mut cluster).await;
    sleep(Duration::from_secs(1)).await;

    server.hang_up();
    server.put(Kind::HttpRoute, route("b", "/changed"));
    server.delete(Kind::HttpRoute, "shop", "c");
    assert_eq!(next(&mut cluster).await, ["+HTTPRoute shop/b", "-HTTPRoute shop/c"]);
    server.take_requests();
    nothing(&mut cluster).await;
    assert!(!server.take_requests().iter().any(|it| it.contains("limit=")), "nothing had to be listed again");
}

#[tokio::test(start_paused = true)]
async fn after_a_server_that_has_forgotten_a_list_gives_only_what_changed() {
    let server = Server::new();
    for name in ["a", "b", "c"] {
        server.put(Kind::HttpRoute, route(name, "/"));
    }
    let mut cluster = Cluster::watch(server.client());
    next(&mut cluster).await;
    sleep(Duration::from_secs(1)).await;

    server.set_down(true);
    server.put(Kind::HttpRoute, route("b", "/changed"));
    server.delete(Kind::HttpRoute, "shop", "c");
    server.put(Kind::HttpRoute, route("d", "/"));
    server.compact();
    sleep(Duration::from_secs(300)).await;
    let tried = server.take_requests().len();
    let kinds = Kind::ALL.len();
    assert!(tried < kinds * 60, "{tried} requests of {kinds} kinds in five minutes are too many");

    server.set_down(false);
    let mut came = next(&mut cluster).await;
    while came.len() < 3 {
        came.extend(next(&mut cluster).await);
    }
    came.sort();
    assert_eq!(came, ["+HTTPRoute shop/b", "+HTTPRoute shop/d", "-HTTPRoute shop/c"]);
    nothing(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_from_a_backup_is_listed_anew() {
    let server = Server::new();
    for name in ["a", "b"] {
        server.put(Kind::HttpRoute, route(name, "/"));
    }
    let mut cluster = Cluster::watch(server.client());
    next(&mut cluster).await;
    sleep(Duration::from_secs(10)).await;
    server.restore();
    sleep(Duration::from_secs(60)).await;
    server.put(Kind::HttpRoute, route("c", "/"));
    assert_eq!(next(&mut cluster).await, ["+HTTPRoute shop/c"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_differs_and_has_the_version_of_before_is_seen_after_a_restore() {
    let server = Server::new();
    let version = server.put(Kind::HttpRoute, route("a", "/before"));
    let mut cluster = Cluster::watch(server.client());
    next(&mut cluster).await;
    sleep(Duration::from_secs(10)).await;
    // The server comes back from a backup. Its versions count from there, and reach that of before with another content, or with
    // another object of this name.
    for (uid, others) in [("u-1", &["b"][..]), ("u-2", &["c", "d"])] {
        server.set_down(true);
        server.restore();
        let mut other = route("a", "/after");
        other["metadata"]["uid"] = json!(uid);
        assert_eq!(server.put(Kind::HttpRoute, other), version);
        for name in others {
            server.put(Kind::HttpRoute, route(name, "/"));
        }
        server.compact();
        server.set_down(false);
        let mut came = Vec::new();
        while came.len() < 1 + others.len() {
            came.extend(next(&mut cluster).await);
        }
        came.sort();
        let named = ["a"].iter().chain(others).map(|it| format!("+HTTPRoute shop/{it}"));
        assert_eq!(came, named.collect::<Vec<_>>(), "{uid}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crd_that_comes_later_holds_nothing_up_and_is_read_when_it_comes() {
    let server = Server::new();
    server.offer(Kind::GrpcRoute, false);
    server.put(Kind::HttpRoute, route("a", "/"));
    let mut cluster = Cluster::watch(server.client());
    assert_eq!(next(&mut cluster).await, ["+HTTPRoute shop/a"]);
    let feeds = cluster.feeds();
    assert_eq!(feeds.borrow()[&Kind::GrpcRoute], FeedState::NotServed);

    server.offer(Kind::GrpcRoute, true);
    let spec = json!({ "parentRefs": [{ "name": "edge" }] });
    server.put(Kind::GrpcRoute, json!({ "metadata": { "name": "g", "namespace": "shop" }, "spec": spec }));
    let before = Instant::now();
    assert_eq!(next(&mut cluster).await, ["+GRPCRoute shop/g"]);
    assert!(before.elapsed() < Duration::from_secs(5));
    nothing(&mut cluster).await;
    assert_eq!(feeds.borrow()[&Kind::GrpcRoute], FeedState::Watching("v1".into()));
}

fn bundle(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "trustBundle": "x" } })
}

/// Whether the cluster has ClusterTrustBundles, as far as these changes say.
fn says_of_bundles(changes: &Changes) -> Option<bool> {
    let kind = ClusterTrustBundle::of_kind().reference();
    changes.edits.iter().rev().find(|it| it.object() == kind).map(|it| matches!(it, Edit::Upsert(_)))
}

#[tokio::test(start_paused = true)]
async fn whether_the_cluster_has_trust_bundles_is_told_when_it_has_none_and_when_they_come_and_go() {
    let server = Server::new();
    server.put(Kind::HttpRoute, route("a", "/"));
    let mut cluster = Cluster::watch(server.client());
    let next = async |cluster: &mut Cluster| {
        timeout(Duration::from_secs(120), cluster.next_changes()).await.expect("a change").expect("no end")
    };
    let first = next(&mut cluster).await;
    assert_eq!((says_of_bundles(&first), short(&first)), (None, vec!["+HTTPRoute shop/a".to_owned()]));
    // The kind comes, and has no objects yet.
    server.offer(Kind::ClusterTrustBundle, true);
    assert_eq!(says_of_bundles(&next(&mut cluster).await), Some(true));
    server.put(Kind::ClusterTrustBundle, bundle("example.com:signer:v1"));
    let came = next(&mut cluster).await;
    assert_eq!(
        (says_of_bundles(&came), short(&came)),
        (None, vec!["+ClusterTrustBundle example.com:signer:v1".to_owned()])
    );
    server.offer(Kind::ClusterTrustBundle, false);
    let gone = next(&mut cluster).await;
    assert_eq!(
        (says_of_bundles(&gone), short(&gone)),
        (Some(false), vec!["-ClusterTrustBundle example.com:signer:v1".to_owned()])
    );
}

/// Without them what trusts them would be closed for a moment. Where they may not be read they hold nothing up.
#[tokio::test(start_paused = true)]
async fn trust_bundles_are_of_the_first_changes_unless_they_may_not_be_read() {
    for is_forbidden in [false, true] {
        let server = Server::new();
        server.offer(Kind::ClusterTrustBundle, true);
        if is_forbidden {
            server.forbid(Kind::ClusterTrustBundle);
        }
        server.put(Kind::HttpRoute, route("a", "/"));
        server.put(Kind::ClusterTrustBundle, bundle("ca"));
        let mut cluster = Cluster::watch(server.client());
        let first = timeout(Duration::from_secs(120), cluster.next_changes()).await.unwrap().unwrap();
        assert_eq!(says_of_bundles(&first), Some(true), "forbidden: {is_forbidden}");
        let expected = if is_forbidden {
            &["+HTTPRoute shop/a"][..]
        } else {
            &["+ClusterTrustBundle ca", "+HTTPRoute shop/a"]
        };
        assert_eq!(short(&first), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_missing_for_a_moment_keeps_its_objects() {
    let server = Server::new();
    server.put(Kind::HttpRoute, route("a", "/"));
    let mut cluster = Cluster::watch(server.client());
    next(&mut cluster).await;

    server.offer(Kind::HttpRoute, false);
    let gone = tokio::spawn(async move {
        let came = next(&mut cluster).await;
        (cluster, came)
    });
    sleep(Duration::from_secs(5)).await;
    server.offer(Kind::HttpRoute, true);
    sleep(Duration::from_secs(60)).await;
    assert!(!gone.is_finished(), "it was missing for five seconds only");

    server.offer(Kind::HttpRoute, false);
    let (cluster, came) = gone.await.unwrap();
    assert_eq!(came, ["-HTTPRoute shop/a"]);
    assert_eq!(cluster.feeds().borrow()[&Kind::HttpRoute], FeedState::NotServed);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_understood_keeps_its_last_good_version() {
    let server = Server::new();
    server.put(Kind::HttpRoute, route("a", "/"));
    let mut cluster = Cluster::watch(server.client());
    next(&mut cluster).await;

    // As a newer CRD would let it pass: to leave the matcher out would widen the route.
    let mut newer = route("a", "/");
    newer["spec"]["rules"][0]["matches"][0]["colour"] = json!("blue");
    server.put(Kind::HttpRoute, newer);
    assert_eq!(next(&mut cluster).await, [""; 0]);
    let problems: Vec<String> = cluster.problems().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("HTTPRoute shop/a spec.rules[0].matches[0].colour:"), "{problems:?}");

    server.put(Kind::HttpRoute, route("a", "/b"));
    assert_eq!(next(&mut cluster).await, ["+HTTPRoute shop/a"]);
    assert_eq!(cluster.problems().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_route_that_was_never_understood_keeps_what_it_may_match_until_it_is() {
    let server = Server::new();
    let newer = || {
        let mut newer = route("a", "/login");
        newer["spec"]["rules"][0]["matches"][0]["colour"] = json!("blue");
        newer
    };
    server.put(Kind::HttpRoute, newer());
    let mut cluster = Cluster::watch(server.client());
    let seen = async |cluster: &mut Cluster| {
        let changes = timeout(Duration::from_secs(120), cluster.next_changes()).await.unwrap().unwrap();
        match &changes.edits[..] {
            [Edit::Upsert(Object::HttpRoute(it))] => (**it).clone(),
            edits => panic!("{edits:?}"),
        }
    };
    let stands_in = seen(&mut cluster).await;
    let why = stands_in.meta.unreadable.clone().unwrap();
    assert!(why.starts_with("spec.rules[0].matches[0].colour: "), "{why}");
    let rules = stands_in.spec.rules.as_deref().unwrap();
    let path = rules[0].matches.as_deref().unwrap()[0].path.as_ref().unwrap();
    assert_eq!(path.value.as_deref(), Some("/login"));
    assert!(rules[0].backend_refs.is_none() && !stands_in.spec.parent_refs.unwrap().is_empty());

    server.put(Kind::HttpRoute, route("a", "/login"));
    let understood = seen(&mut cluster).await;
    assert_eq!((understood.meta.unreadable, cluster.problems().count()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_backend_tls_policy_that_was_never_understood_closes_its_targets_until_it_is() {
    let policy = |field: &str| {
        json!({
            "metadata": { "name": "p", "namespace": "shop", "uid": "p", "generation": 7 },
            "spec": {
                "targetRefs": [{ "group": "", "kind": "Service", "name": "web" }],
                "validation": { "hostname": "web.example", "wellKnownCACertificates": "System" },
                field: "anything",
            },
        })
    };
    let good = || {
        let mut it = policy("x");
        it["spec"].as_object_mut().unwrap().remove("x");
        it
    };
    let server = Server::new();
    server.put(Kind::BackendTlsPolicy, policy("newer"));
    let mut cluster = Cluster::watch(server.client());
    let seen = async |cluster: &mut Cluster| {
        let changes = timeout(Duration::from_secs(120), cluster.next_changes()).await.unwrap().unwrap();
        match &changes.edits[..] {
            [] => None,
            [Edit::Upsert(Object::BackendTlsPolicy(it))] => Some((**it).clone()),
            edits => panic!("{edits:?}"),
        }
    };
    let stands_in = seen(&mut cluster).await.unwrap();
    assert_eq!((&*stands_in.spec.target_refs[0].name, stands_in.meta.generation), ("web", 7));
    let why = stands_in.meta.unreadable.unwrap();
    assert!(why.starts_with("spec.newer: "), "{why}");
    assert_eq!(cluster.problems().count(), 1);

    server.put(Kind::BackendTlsPolicy, policy("other"));
    let why = seen(&mut cluster).await.unwrap().meta.unreadable.unwrap();
    assert!(why.starts_with("spec.other: "), "{why}");
    server.put(Kind::BackendTlsPolicy, good());
    let understood = seen(&mut cluster).await.unwrap();
    assert_eq!((understood.meta.unreadable, &*understood.spec.validation.hostname), (None, "web.example"));

    // From then on its last good version stays.
    server.put(Kind::BackendTlsPolicy, policy("newer"));
    assert_eq!(seen(&mut cluster).await, None);
    server.delete(Kind::BackendTlsPolicy, "shop", "p");
    assert_eq!(next(&mut cluster).await, ["-BackendTLSPolicy shop/p"]);
    server.put(Kind::BackendTlsPolicy, policy("newer"));
    assert!(seen(&mut cluster).await.unwrap().meta.unreadable.is_some(), "another object of this name");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_read_holds_the_first_changes_up_and_says_so() {
    let server = Server::new();
    server.forbid(Kind::Secret);
    let mut cluster = Cluster::watch(server.client());
    nothing(&mut cluster).await;
    let feeds = cluster.feeds();
    let FeedState::Failing(why) = feeds.borrow()[&Kind::Secret].clone() else { panic!("{feeds:?}") };
    assert!(why.contains("ClusterRole"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn only_what_may_matter_is_asked_for() {
    let server = Server::new();
    let mut cluster = Cluster::watch(server.client());
    next(&mut cluster).await;
    sleep(Duration::from_secs(1)).await;
    let requests = server.take_requests();
    for (kind, selectors) in [
        ("secrets", &["type%3Dkubernetes.io%2Ftls", "type%3Dfairway.dev%2Fcredentials"][..]),
        ("pods", &["status.phase%21%3DSucceeded"][..]),
    ] {
        let of_kind: Vec<&String> = requests.iter().filter(|it| it.contains(&format!("/{kind}?"))).collect();
        for selector in selectors {
            let of_selector = of_kind.iter().filter(|it| it.contains(selector)).count();
            assert!(of_selector >= 2, "listed and watched: {requests:?}");
        }
        let is_selected = |it: &&&String| selectors.iter().any(|selector| it.contains(selector));
        assert_eq!(of_kind.iter().filter(is_selected).count(), of_kind.len(), "{of_kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_is_kept_for_who_writes_it() {
    let server = Server::new();
    let mut it = route("a", "/");
    it["status"] = json!({ "parents": [] });
    let version = server.put(Kind::HttpRoute, it);
    server.put(Kind::Namespace, namespace("shop", "a"));
    let mut cluster = Cluster::watch(server.client());
    let changes = cluster.next_changes().await.unwrap();
    let [(object, Some(record))] = &changes.records[..] else { panic!("{:?}", changes.records) };
    assert_eq!(object.to_string(), "HTTPRoute shop/a");
    assert_eq!((&*record.uid, &*record.version), ("a", &*version));
    assert_eq!(record.parsed(), json!({ "parents": [] }));
}
