use super::{authorization_index, output, program, proxy, reviewed, uid_of, ztunnel};
use crate::admission::{AuthorizationIndex, ClusterAdmission, ClusterEntitlement, Reviewed};
use crate::admission::{Caller, Entitlement, NotEntitled};
use crate::compile::Output;
use crate::provision::Want;
use crate::serve::{Admission, Peer, Refused};
use fairway_config::model::{ObjectName, Resource, Workload};
use fairway_config::stream::{Proxy, Subscription};
use std::sync::Arc;
use tonic::Extensions;
use tonic::metadata::MetadataMap;

fn admitted(caller: Option<Reviewed>, proxy: Proxy) -> Result<(), String> {
    let mut extensions = Extensions::new();
    caller.map(|it| extensions.insert(Arc::new(it)));
    let peer = Peer { extensions: &extensions, metadata: &MetadataMap::new() };
    let admission = ClusterAdmission::new(authorization_index(), ztunnel(), program());
    admission.admit(peer, &Subscription::new(proxy, "1")).map(drop).map_err(|it| it.to_string())
}

#[test]
fn a_proxy_has_its_own_gateways_configuration_and_a_tunnel_its_nodes() {
    let public = || Some(reviewed("edge", "public-fairway", Some("n1")));
    let tunnel = |node| Some(reviewed("fairway-system", "fairway-ztunnel", node));
    let gateway = |name: &str| Proxy::Gateway(ObjectName::new("edge", name));
    let node = |name: &str| Proxy::Node(name.into());
    for (caller, proxy, refusal) in [
        (public(), gateway("public"), None),
        (public(), gateway("other"), Some("is that of Gateway edge/public")),
        (public(), node("n1"), Some("only fairway-system/fairway-ztunnel may")),
        (Some(reviewed("shop", "public-fairway", None)), gateway("public"), Some("not one that was made")),
        (Some(reviewed("edge", "default", None)), gateway("public"), Some("not one that was made")),
        (tunnel(Some("n1")), node("n1"), None),
        (tunnel(Some("n1")), node("n2"), Some("it runs on node n1")),
        (tunnel(None), node("n1"), Some("not known on which node")),
        (tunnel(Some("n1")), gateway("public"), Some("not one that was made")),
        (Some(reviewed("edge", "fairway-ztunnel", Some("n1"))), node("n1"), Some("may not have a node")),
        (tunnel(Some("n1")), Proxy::Everything, Some("nobody may")),
        (None, gateway("public"), Some("not known who asks")),
    ] {
        let (described, verdict) = (format!("{caller:?} as {proxy}"), admitted(caller, proxy));
        match refusal {
            None => assert_eq!(verdict, Ok(()), "{described}"),
            Some(why) => assert!(verdict.as_ref().unwrap_err().contains(why), "{described}: {verdict:?}"),
        }
    }
}

/// A Gateway that cannot be read since the controller began: its proxies go on with what they have, and with their identity.
#[tokio::test]
async fn a_held_gateways_proxy_is_sent_nothing_until_the_gateway_can_be_read() {
    let index = authorization_index();
    let public = || reviewed("edge", "public-fairway", Some("n1"));
    let admit = || {
        let mut extensions = Extensions::new();
        extensions.insert(Arc::new(public()));
        let peer = Peer { extensions: &extensions, metadata: &MetadataMap::new() };
        let admission = ClusterAdmission::new(index.clone(), ztunnel(), program());
        let asked = Proxy::Gateway(ObjectName::new("edge", "public"));
        admission.admit(peer, &Subscription::new(asked, "1")).map(drop)
    };
    assert_eq!(admit(), Ok(()));
    let held = crate::compile::Proxy { want: Want::Hold, ..proxy("public") };
    index.take(&Output { proxies: vec![held], ..Output::default() });
    assert!(matches!(admit(), Err(Refused::Unavailable(why)) if why.contains("keep the configuration")));
    let entitlement = ClusterEntitlement::new(index.clone(), ztunnel(), program());
    let id = "spiffe://cluster.local/ns/edge/sa/public-fairway".parse().unwrap();
    assert!(entitlement.check(&Caller::Proxy(Arc::new(public())), &id).await.is_ok());
    index.take(&Output { proxies: vec![proxy("public")], ..Output::default() });
    assert_eq!(admit(), Ok(()));
}

#[tokio::test]
async fn a_proxy_has_its_own_identity_and_a_tunnel_those_of_its_node() {
    let public = || reviewed("edge", "public-fairway", Some("n1"));
    let tunnel = |node| reviewed("fairway-system", "fairway-ztunnel", node);
    let id = |it: &str| format!("spiffe://cluster.local/{it}").parse().unwrap();
    let entitlement = ClusterEntitlement::new(authorization_index(), ztunnel(), program());
    for (caller, asked, verdict) in [
        (public(), "ns/edge/sa/public-fairway", Ok(())),
        (
            public(),
            "ns/edge/sa/other-fairway",
            Err(NotEntitled::NotItsOwn(ObjectName::new("edge", "public-fairway"))),
        ),
        // A pod's own token is its tunnel's business.
        (
            reviewed("shop", "web", Some("n1")),
            "ns/shop/sa/web",
            Err(NotEntitled::NotAProxy(ObjectName::new("shop", "web"))),
        ),
        (tunnel(Some("n1")), "ns/shop/sa/web", Ok(())),
        // A tunnel's token that was stolen from n1 is worth nothing for n2.
        (tunnel(Some("n1")), "ns/shop/sa/db", Err(NotEntitled::NotOnNode("n1".into()))),
        (tunnel(Some("n2")), "ns/shop/sa/db", Ok(())),
        (tunnel(Some("n1")), "ns/shop/sa/plain", Err(NotEntitled::NotOnNode("n1".into()))),
        (tunnel(Some("n1")), "ns/edge/sa/public-fairway", Err(NotEntitled::NotOnNode("n1".into()))),
        (tunnel(None), "ns/shop/sa/web", Err(NotEntitled::UnknownNode("pod".into()))),
    ] {
        let described = format!("{caller:?}: {asked}");
        let caller = Caller::Proxy(Arc::new(caller));
        assert_eq!(entitlement.check(&caller, &id(asked)).await, verdict, "{described}");
    }
    for caller in [Caller::Unknown, Caller::ThisProcess, Caller::Unix { uid: 0, pid: None }] {
        let verdict = entitlement.check(&caller, &id("ns/shop/sa/web")).await;
        assert_eq!(verdict, Err(NotEntitled::Unknown));
    }
}

#[test]
fn where_the_api_server_names_no_node_the_pods_own_counts() {
    let tunnel = reviewed("fairway-system", "fairway-ztunnel", None);
    let authorization_index = authorization_index();
    let Resource::Workload(web) = output().upserts[0].clone() else { panic!() };
    let uid = uid_of("fairway-system", "fairway-ztunnel").into();
    let own = Workload { key: "fairway-system/tunnel".into(), uid, ..(*web).clone() };
    authorization_index
        .take(&Output { upserts: vec![Resource::Workload(Arc::new(own))], ..Output::default() });
    let admission = ClusterAdmission::new(authorization_index, ztunnel(), program());
    let mut extensions = Extensions::new();
    extensions.insert(Arc::new(tunnel));
    let peer = Peer { extensions: &extensions, metadata: &MetadataMap::new() };
    let ask = |node: &str| Subscription::new(Proxy::Node(node.into()), "1");
    assert!(admission.admit(peer, &ask("n1")).is_ok());
    assert!(admission.admit(peer, &ask("n2")).is_err());
}

#[test]
fn the_roster_follows_what_is_compiled() {
    let authorization_index = AuthorizationIndex::default();
    let all = output();
    authorization_index.take(&all);
    let web = "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap();
    assert!(authorization_index.lives_on(&web, "n1") && !authorization_index.lives_on(&web, "n2"));

    // It moves, under the same name.
    let Resource::Workload(it) = &all.upserts[0] else { panic!("{all:?}") };
    let mut moved = (**it).clone();
    moved.node = "n2".into();
    let moved = Resource::Workload(Arc::new(moved));
    let key = moved.key();
    authorization_index.take(&Output { upserts: vec![moved], ..Output::default() });
    assert!(!authorization_index.lives_on(&web, "n1") && authorization_index.lives_on(&web, "n2"));
    assert_eq!(authorization_index.node_of("uid-web").as_deref(), Some("n2"));

    let retired = vec![ObjectName::new("edge", "public")];
    authorization_index.take(&Output { removals: vec![key], retired, ..Output::default() });
    assert!(!authorization_index.lives_on(&web, "n2") && authorization_index.node_of("uid-web").is_none());
    assert_eq!(authorization_index.gateway_of(&ObjectName::new("edge", "public-fairway")), None);
    assert!(authorization_index.gateway_of(&ObjectName::new("edge", "other-fairway")).is_some());
}
