//! What reaches an endpoint that a Service guards was asked of that Service, or routed to it: over any configuration.

use super::*;
use crate::fixtures::snapshot;
use crate::upstream::caller::Caller;
use fairway_balance::{Moment, Readmission};
use fairway_config::Delta;
use fairway_config::model::{
    AppProtocol, Backend, BackendSecurity, Endpoint, EndpointState, Endpoints, Guard, InternalTrafficPolicy,
    Listener, Resource,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// As many Services and endpoints.
const MANY: usize = 4;

/// The backend of a Service, and which endpoints it has.
#[derive(Clone, Debug)]
struct Shape {
    /// The endpoints of each Service.
    members: [[bool; MANY]; MANY],
    /// The endpoints that each Service guards.
    guarded: [[bool; MANY]; MANY],
    proxies: [bool; MANY],
    on_node: bool,
}

fn any_shape() -> impl Strategy<Value = Shape> {
    (any::<[[bool; MANY]; MANY]>(), any::<[[bool; MANY]; MANY]>(), any::<[bool; MANY]>(), any::<bool>())
        .prop_map(|(members, guarded, proxies, on_node)| Shape { members, guarded, proxies, on_node })
}

fn service(index: usize) -> ServiceKey {
    format!("shop/s{index}").into()
}

fn key(index: usize) -> BackendKey {
    format!("shop/s{index}:80").into()
}

fn address(index: usize) -> SocketAddr {
    ([10, 0, 0, index as u8], 8080).into()
}

/// The addresses of a Service's endpoints that fit.
fn those(shape: &Shape, index: usize, fits: impl Fn(usize) -> bool) -> Vec<SocketAddr> {
    (0..MANY).filter(|it| shape.members[index][*it] && fits(*it)).map(address).collect()
}

fn resources(shape: &Shape, index: usize) -> [Resource; 2] {
    let endpoint = |address: SocketAddr| Endpoint {
        address,
        state: EndpointState::Ready,
        identity: None,
        node: Some("n".into()),
        hints: None,
    };
    let guards = (0..MANY).map(|guard| Guard {
        service: service(guard),
        endpoints: those(shape, index, |it| shape.guarded[guard][it]),
    });
    let endpoints = Endpoints {
        internal_traffic_policy: if shape.on_node {
            InternalTrafficPolicy::Local
        } else {
            InternalTrafficPolicy::Cluster
        },
        guards: guards.filter(|it| !it.endpoints.is_empty()).collect(),
        proxies: those(shape, index, |it| shape.proxies[it]),
        ..Endpoints::of_anybody(key(index), those(shape, index, |_| true).into_iter().map(endpoint).collect())
    };
    let backend = Backend {
        key: key(index),
        service: service(index),
        port: 80,
        protocol: AppProtocol::Http1,
        security: BackendSecurity::Plain,
        via: None,
        authorizations: vec![],
        limits: vec![],
        authentications: vec![],
    };
    [Resource::Backend(Arc::new(backend)), Resource::Endpoints(Arc::new(endpoints))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_guarded_endpoint_is_for_what_was_asked_of_its_service_or_routed_to_it(shape in any_shape()) {
        let all = snapshot((0..MANY).flat_map(|it| resources(&shape, it)).collect());
        let tables = Tables::build(&all, &mut Registry::default()).unwrap();
        let mut rng = SmallRng::seed_from_u64(1);
        for (asked, routed) in (0..=MANY).flat_map(|asked| (0..MANY).map(move |routed| (asked, routed))) {
            // The last stands for a Gateway, which is asked for no Service.
            let service = (asked < MANY).then(|| service(asked));
            let caller = Caller { service, node: Some("n".into()), ..Caller::default() };
            let cluster = tables.cluster(&key(routed)).unwrap();
            let is_open = |endpoint: usize| {
                let mut guarding = (0..MANY).filter(|it| shape.guarded[*it][endpoint]).peekable();
                !shape.proxies[endpoint]
                    && (guarding.peek().is_none() || guarding.any(|it| it == asked || it == routed))
            };
            let expected = those(&shape, routed, is_open);
            let found: Vec<_> = cluster.candidates(&caller).iter().map(|it| it.address()).collect();
            prop_assert_eq!(&found, &expected, "asked {}, routed {}", asked, routed);
            // Also in a panic, when all were tried.
            let tried = cluster.candidates(&caller).to_vec();
            for tried in [&[][..], &tried] {
                let picked = cluster.pick(&caller, Moment(1), Readmission::CheckFirst, tried, &mut rng, |_| ());
                let picked = picked.map(|it| it.address());
                prop_assert!(picked.is_none_or(|it| expected.contains(&it)), "{:?}", picked);
                prop_assert_eq!(picked.is_some(), !expected.is_empty());
            }
        }
    }
}

#[test]
fn what_is_remembered_of_a_backend_that_has_gone_ends_when_somebody_guards_its_endpoints() {
    let shape = |guarded| Shape {
        members: [[true; MANY]; MANY],
        guarded: [[guarded; MANY], [false; MANY], [false; MANY], [false; MANY]],
        proxies: [false; MANY],
        on_node: false,
    };
    let hbone = Listener { protocol: ListenerProtocol::Hbone, ..crate::fixtures::listener("mesh", None) };
    let all = (0..2).flat_map(|it| resources(&shape(false), it));
    let first = snapshot(all.chain([Resource::Listener(Arc::new(hbone))]).collect());
    let mut registry = Registry::default();
    let tables = Tables::build(&first, &mut registry).unwrap();
    let removals: Vec<_> = resources(&shape(false), 1).iter().map(Resource::key).collect();
    let gone = Delta { removals, ..Delta::default() };
    let (second, changes) = first.apply(gone.clone());
    let without = tables.next(&second, &changes, &mut registry).unwrap();
    assert!(without.service_cluster(&key(1)).is_some(), "whoever was sent here for it is served once more");
    let guard = resources(&shape(true), 0).to_vec();
    let (third, changes) = second.apply(Delta { upserts: guard.clone(), ..Delta::default() });
    assert!(without.next(&third, &changes, &mut registry).unwrap().service_cluster(&key(1)).is_none());
    // Both at once.
    let (both, changes) = first.apply(Delta { upserts: guard, ..gone });
    assert!(tables.next(&both, &changes, &mut registry).unwrap().service_cluster(&key(1)).is_none());
}
