//! What a proxy says that it needs after a refusal brings it nothing that its scope has not brought it.

use super::universe::{self, at_listener, certificate, commit, edit, gateway, listener, rule};
use super::{backend, endpoints, route};
use crate::serve::hub_state::{Difference, Held, HubState, RefusedResource, SubscriberId};
use fairway_config::Rejected;
use fairway_config::model::{
    Certificate, ListenerProtocol, Resource, ResourceKey, ResourceKind, TlsTermination,
};
use fairway_config::stream::{Proxy, Subscription};
use fairway_config::wire::{self, ContentHash};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Notify;

fn put(hub: &mut HubState, resources: Vec<Resource>, removals: Vec<ResourceKey>) {
    let encoded = |it: Resource| {
        let encoded = Arc::new(wire::encode(&it));
        (it, encoded)
    };
    hub.commit(resources.into_iter().map(encoded).collect(), removals);
}

fn subscribe(hub: &mut HubState, proxy: Proxy, held: &Held) -> SubscriberId {
    hub.subscribe(Subscription::new(proxy, "test"), held, Arc::new(Notify::new()))
}

fn refuse(hub: &mut HubState, id: SubscriberId, sent: &Difference, key: &ResourceKey, needs: &[ResourceKey]) {
    let rejected = Rejected { key: key.clone(), reason: "no".to_owned() };
    hub.nacked(
        id,
        sent.generation,
        vec![RefusedResource { rejected, needs: needs.to_vec(), in_force: None }],
    )
    .unwrap();
}

/// The hash of no version that there is.
fn unknown() -> ContentHash {
    wire::encode(&backend("nobody/x:1", 1, None)).hash
}

/// The Gateway of `shop`, and what another tenant has.
fn world() -> Vec<Resource> {
    vec![
        listener("shop/gw", "web", ListenerProtocol::Http),
        route("r", vec![at_listener("shop/gw/web")], vec![rule("/", &["shop/a:80"], None)]),
        backend("shop/a:80", 80, None),
        backend("shop/b:80", 80, None),
        endpoints("shop/b:80", 1),
        listener("bank/gw", "web", ListenerProtocol::Http),
        backend("bank/a:80", 80, None),
        endpoints("bank/a:80", 1),
        certificate("bank/tls"),
    ]
}

#[test]
fn a_refusal_brings_nothing_of_another_tenant_whatever_the_proxy_says_it_held() {
    let keys: Vec<_> = world().iter().map(Resource::key).collect();
    // What it says that it held, and what of it a refusal of `shop`'s own route brings back.
    let nothing = Vec::new();
    for (held, brought) in
        [(&nothing, vec![]), (&keys, vec!["Backend shop/b:80".to_owned(), "Endpoints shop/b:80".to_owned()])]
    {
        let mut hub = HubState::default();
        put(&mut hub, world(), vec![]);
        let held: Held = held.iter().map(|key| (key.clone(), unknown())).collect();
        let id = subscribe(&mut hub, gateway("shop/gw"), &held);
        let scope: Vec<_> = hub.scope(&gateway("shop/gw")).into_keys().collect();
        let first = hub.difference(id).unwrap();
        let refused =
            first.upserts.iter().map(|it| &it.key).find(|it| it.kind == ResourceKind::Route).unwrap();
        refuse(&mut hub, id, &first, refused, &keys);
        let next = hub.difference(id).unwrap();
        let beyond = next.upserts.iter().map(|it| &it.key).filter(|key| !scope.contains(key));
        assert_eq!(beyond.map(ToString::to_string).collect::<Vec<_>>(), brought);
    }
}

#[test]
fn the_certificate_of_the_version_in_force_stays_as_it_is() {
    let https = |certificates: &[&str]| {
        let certificates = certificates.iter().map(|it| (*it).into()).collect();
        listener(
            "shop/gw",
            "web",
            ListenerProtocol::Https(TlsTermination {
                certificates,
                clients: None,
                min_version: Default::default(),
                algorithms: Default::default(),
            }),
        )
    };
    let mut hub = HubState::default();
    put(&mut hub, vec![https(&["shop/old"]), certificate("shop/old"), certificate("shop/new")], vec![]);
    let id = subscribe(&mut hub, gateway("shop/gw"), &Held::default());
    let first = hub.difference(id).unwrap();
    hub.acked(id, first.generation).unwrap();

    let (old, key) = (certificate("shop/old").key(), https(&[]).key());
    put(&mut hub, vec![https(&["shop/new"])], vec![]);
    let edit = hub.difference(id).unwrap();
    assert_eq!(edit.removals, std::slice::from_ref(&old));
    refuse(&mut hub, id, &edit, &key, std::slice::from_ref(&old));
    // It is not removed; and when it is rotated, the next private key is nothing to this proxy.
    let made = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
    let rotated =
        Certificate::from_pem("shop/old".into(), &made.cert.pem(), &made.signing_key.serialize_pem());
    put(&mut hub, vec![Resource::Certificate(Arc::new(rotated.unwrap()))], vec![]);
    while let Some(next) = hub.difference(id) {
        let keys = next.upserts.iter().map(|it| &it.key).chain(&next.removals);
        assert!(!keys.into_iter().any(|it| *it == old), "{next:?}");
        hub.acked(id, next.generation).unwrap();
    }
    // The next version that is taken has no use for it.
    put(&mut hub, vec![https(&[])], vec![]);
    let mut removed = Vec::new();
    while let Some(next) = hub.difference(id) {
        hub.acked(id, next.generation).unwrap();
        removed.extend(next.removals);
    }
    assert!(removed.contains(&old));
}

#[test]
fn what_a_proxy_refuses_has_a_bound_in_bytes() {
    let mut hub = HubState::default();
    put(&mut hub, world(), vec![]);
    let id = subscribe(&mut hub, gateway("shop/gw"), &Held::default());
    let sent = hub.difference(id).unwrap();
    let refused = |key: &ResourceKey| RefusedResource {
        rejected: Rejected { key: key.clone(), reason: "no".repeat(16 << 20) },
        needs: vec![],
        in_force: None,
    };
    let all = sent.upserts.iter().map(|it| refused(&it.key)).collect();
    assert!(hub.nacked(id, sent.generation, all).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Every round edits the world, and the proxy refuses something and says that it needs all there is.
    #[test]
    fn whatever_is_refused_and_claimed_a_proxy_gets_its_scope(
        rounds in prop::collection::vec((prop::collection::vec(edit(), 1..20), any::<prop::sample::Index>()), 2..8),
        proxy in prop::sample::select(universe::proxies()),
        claims in any::<bool>(),
    ) {
        let mut hub = HubState::default();
        let (mut keys, mut ever) = (BTreeSet::new(), HashSet::new());
        // By any version: the proxy may hold an earlier one.
        let mut named_by_backends: HashMap<ResourceKey, Vec<ResourceKey>> = HashMap::new();
        let mut id = None;
        for (edits, chosen) in rounds {
            let (upserts, removals) = commit(edits);
            keys.extend(upserts.iter().map(Resource::key));
            let backends = upserts.iter().filter(|it| it.key().kind == ResourceKind::Backend);
            for backend in backends {
                named_by_backends.entry(backend.key()).or_default().extend(backend.references());
            }
            put(&mut hub, upserts, removals);
            let scope = hub.scope(&proxy);
            // And what those name, whether it is there yet or not.
            ever.extend(scope.values().flat_map(Resource::references));
            let now: HashSet<_> = scope.into_keys().collect();
            ever.extend(now.iter().cloned());
            let id = *id.get_or_insert_with(|| {
                // What it claims is not in the version that there is.
                let held = keys.iter().filter(|_| claims).map(|key| (key.clone(), unknown())).collect();
                subscribe(&mut hub, proxy.clone(), &held)
            });
            let needs: Vec<_> = keys.iter().cloned().collect();
            for _ in 0..3 {
                let Some(sent) = hub.difference(id) else { break };
                // What judges and counts a backend comes with it.
                for it in sent.upserts.iter().filter(|it| it.key.kind == ResourceKind::Backend) {
                    ever.extend(wire::decode(it.bytes.clone()).unwrap().references());
                }
                for it in &sent.upserts {
                    use ResourceKind::{Authentication, Authorization, Backend, Endpoints, RateLimit};
                    let is_followed =
                        matches!(it.key.kind, Backend | Endpoints | Authentication | Authorization | RateLimit);
                    // Endpoints come with the Backend that they are of, or that is reached through them.
                    let its_backend = ResourceKey::new(Backend, it.key.name.clone());
                    let with_backend = it.key.kind == Endpoints
                        && (ever.contains(&its_backend) || universe::WAYPOINTS.contains(&&*it.key.name));
                    // And so do the authorizations that judge at it: without them it would be unguarded.
                    let judges_there = named_by_backends
                        .iter()
                        .any(|(backend, named)| ever.contains(backend) && named.contains(&it.key));
                    let had = claims || ever.contains(&it.key) || with_backend || judges_there;
                    let has_right = now.contains(&it.key) || (is_followed && had);
                    prop_assert!(has_right, "{} was sent to {proxy:?}", it.key);
                }
                match sent.upserts.is_empty() {
                    true => hub.acked(id, sent.generation).unwrap(),
                    false => refuse(&mut hub, id, &sent, &sent.upserts[chosen.index(sent.upserts.len())].key, &needs),
                }
            }
        }
    }
}
