use super::{endpoints, id, index, mesh, pod, service};
use crate::decide::Index;
use fairway_balance::Locality;
use fairway_config::model::{
    BackendKey, EndpointState, Generation, InternalTrafficPolicy, Mesh, MutualTls, Resource, ResourceKey,
    ResourceKind, SessionAffinity,
};
use fairway_config::{Delta, Snapshot};
use proptest::prelude::*;
use std::sync::Arc;

#[test]
fn ending_endpoints_are_chosen_only_when_none_is_ready() {
    use EndpointState::{Draining, Ready, Unready};
    let with = |states: &[(&str, EndpointState)]| {
        let list: Vec<_> = states.iter().map(|(at, state)| (*at, *state, None)).collect();
        let index = index([Resource::Endpoints(Arc::new(endpoints("a/b:80", &list)))]);
        let chosen = index.candidates(&BackendKey::from("a/b:80"), None);
        chosen.map(|chosen| chosen.endpoints().iter().map(|it| it.address.to_string()).collect::<Vec<_>>())
    };
    let both = [("10.0.0.1:80", Ready), ("10.0.0.2:80", Draining)];
    assert_eq!(with(&both), Some(vec!["10.0.0.1:80".to_owned()]));
    assert_eq!(
        with(&[("10.0.0.2:80", Draining), ("10.0.0.3:80", Unready)]),
        Some(vec!["10.0.0.2:80".to_owned()])
    );
    assert_eq!(with(&[("10.0.0.3:80", Unready)]), None);
}

#[test]
fn a_change_of_something_else_shares_the_tables() {
    let snapshot = Snapshot::default().apply(Delta { upserts: mesh(), ..Default::default() }).0;
    let before = Index::build(Locality::default(), &snapshot);
    let removal = ResourceKey::new(ResourceKind::Service, "shop/empty");
    let (next, changes) = snapshot.apply(Delta { removals: vec![removal], ..Default::default() });
    let after = before.update(&next, &changes);
    assert!(Arc::ptr_eq(&before.workloads, &after.workloads));
    assert!(!Arc::ptr_eq(&before.services, &after.services));
}

fn here() -> Locality {
    Locality::new(Some("n1".to_owned()), Some("z1".to_owned()))
}

fn a_resource() -> impl Strategy<Value = Resource> {
    // Few names and addresses, so that they meet and change hands.
    let pods = (0..4_u8, 0..4_u8, any::<bool>()).prop_map(|(name, last, captured)| {
        let mesh = if captured { Mesh::Captured(MutualTls::Strict) } else { Mesh::Outside };
        Resource::Workload(Arc::new(pod("shop", &format!("pod{name}"), &format!("10.0.0.{last}"), mesh, &[])))
    });
    let services = (0..4_u8, 0..4_u8).prop_map(|(name, last)| {
        Resource::Service(Arc::new(service(&format!("service{name}"), &format!("10.96.0.{last}"), None, &[])))
    });
    let states =
        prop::sample::select(vec![EndpointState::Ready, EndpointState::Draining, EndpointState::Unready]);
    let kinds = (any::<bool>(), any::<bool>());
    let backends = (0..3_u8, kinds, prop::collection::vec((0..4_u8, states), 0..4));
    let backends = backends.prop_map(|(name, (local, sticky), list)| {
        let list: Vec<_> = list.iter().map(|(last, state)| (format!("10.0.0.{last}:80"), *state)).collect();
        let list: Vec<_> =
            list.iter().map(|(at, state)| (at.as_str(), *state, Some(id("shop", "a")))).collect();
        let mut backend = endpoints(&format!("shop/service{name}:80"), &list);
        backend.internal_traffic_policy =
            if local { InternalTrafficPolicy::Local } else { InternalTrafficPolicy::Cluster };
        backend.session_affinity = if sticky { SessionAffinity::ClientIp } else { SessionAffinity::None };
        for (number, endpoint) in backend.endpoints.iter_mut().enumerate() {
            endpoint.node = Some(["n1", "n2"][number % 2].into());
        }
        Resource::Endpoints(Arc::new(backend))
    });
    prop_oneof![pods, services, backends]
}

proptest! {
    #[test]
    fn kept_up_to_date_it_is_what_a_rebuild_gives(
        commits in prop::collection::vec(prop::collection::vec((a_resource(), any::<bool>()), 0..6), 1..8),
    ) {
        let (mut snapshot, mut kept) = (Snapshot::default(), Index::empty(here()));
        for (number, edits) in commits.into_iter().enumerate() {
            let mut delta = Delta { generation: Generation(number as u64 + 1), ..Default::default() };
            for (resource, remove) in edits {
                match remove {
                    true => delta.removals.push(resource.key()),
                    false => delta.upserts.push(resource),
                }
            }
            let (next, changes) = snapshot.apply(delta);
            kept = kept.update(&next, &changes);
            snapshot = next;
            prop_assert_eq!(&kept, &Index::build(here(), &snapshot));
        }
    }
}
