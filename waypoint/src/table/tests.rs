//! Tables after changes are the tables that would have been built anew, and only what a change touches is built.

use super::*;
use crate::fixtures::{attachment, listener, prefix, request, resource, route, rule, snapshot, to_service};
use crate::route::{RequestHead, oracle, select};
use crate::upstream::caller::Caller;
use fairway_config::Delta;
use fairway_config::model::{
    Backend, Endpoint, EndpointState, Endpoints, Filter, HeaderModifier, HostnamePattern, Listener,
    ListenerProtocol, Resource, TlsTermination,
};
use proptest::prelude::*;

fn host(text: &str) -> HostnamePattern {
    text.parse().unwrap()
}

fn apply(
    snapshot: &Snapshot,
    tables: &Tables,
    upserts: Vec<Resource>,
    registry: &mut Registry,
) -> (Snapshot, Tables) {
    let (next, changes) = snapshot.apply(Delta { upserts, ..Delta::default() });
    let tables = tables.next(&next, &changes, registry).unwrap();
    (next, tables)
}

fn backend(key: &str, address: &str) -> Vec<Resource> {
    let endpoint = Endpoint {
        address: address.parse().unwrap(),
        state: EndpointState::Ready,
        identity: None,
        node: None,
        hints: None,
    };
    let backend = Backend {
        key: key.into(),
        service: "shop/web".into(),
        port: 80,
        protocol: fairway_config::model::AppProtocol::Http2,
        security: fairway_config::model::BackendSecurity::Plain,
        via: None,
        authorizations: vec![],
        limits: vec![],
        authentications: vec![],
    };
    let endpoints = Endpoints::of_anybody(key.into(), vec![endpoint]);
    vec![Resource::Backend(Arc::new(backend)), Resource::Endpoints(Arc::new(endpoints))]
}

fn on(name: &str, listener: &str, hostnames: &[(&str, &str)]) -> Route {
    Route {
        attachments: vec![attachment(listener, hostnames)],
        rules: vec![rule(vec![prefix("/")], name)],
        ..route(name)
    }
}

#[test]
fn an_edit_builds_only_the_hosts_it_touches() {
    let mut registry = Registry::default();
    let first = snapshot(vec![
        Resource::Listener(Arc::new(listener("l", None))),
        resource(on("a", "l", &[("a.com", "a.com")])),
        resource(on("b", "l", &[("b.com", "b.com")])),
    ]);
    let before = Tables::build(&first, &mut registry).unwrap();
    let edited = Route { created: 5, ..on("a", "l", &[("a.com", "a.com")]) };
    let (_, after) = apply(&first, &before, vec![resource(edited)], &mut registry);
    let table = |tables: &Tables, name| tables.listener_routes["l"].host(Some(&host(name))).unwrap().clone();
    assert!(!Arc::ptr_eq(&table(&before, "a.com"), &table(&after, "a.com")));
    assert!(Arc::ptr_eq(&table(&before, "b.com"), &table(&after, "b.com")));
    assert!(Arc::ptr_eq(&before.services, &after.services) && Arc::ptr_eq(&before.clusters, &after.clusters));
}

#[test]
fn load_and_health_of_an_endpoint_survive_commits_and_endpoint_changes_leave_routes_alone() {
    let mut registry = Registry::default();
    let first = snapshot([backend("a", "10.0.0.1:80"), vec![resource(on("a", "l", &[]))]].concat());
    let before = Tables::build(&first, &mut registry).unwrap();
    let endpoint = before.cluster(&"a".into()).unwrap().candidates(&Caller::default())[0].clone();
    let (second, after) = apply(&first, &before, backend("b", "10.0.0.1:80"), &mut registry);
    assert!(Arc::ptr_eq(&endpoint, &after.cluster(&"b".into()).unwrap().candidates(&Caller::default())[0]));
    assert!(Arc::ptr_eq(&before.listener_routes, &after.listener_routes));
    let (_, after) = apply(&second, &after, backend("a", "10.0.0.9:80"), &mut registry);
    assert_eq!(
        after.cluster(&"a".into()).unwrap().candidates(&Caller::default())[0].address().to_string(),
        "10.0.0.9:80"
    );
}

#[test]
fn routes_of_a_service_hold_for_their_port_and_their_audience() {
    let bound = |name: &str, port, audience: Audience| Route {
        attachments: vec![to_service("shop/web", port, audience)],
        rules: vec![rule(vec![prefix(if port.is_some() { "/x" } else { "/" })], name)],
        ..route(name)
    };
    let consumer = || Audience::Consumer("client".into());
    let tables = Tables::build(
        &snapshot(vec![
            resource(bound("every port", None, Audience::Producer)),
            resource(bound("port 80", Some(80), Audience::Producer)),
            resource(bound("consumer", Some(81), consumer())),
        ]),
        &mut Registry::default(),
    )
    .unwrap();
    let answer = |port, audience: &Audience, path: &str| {
        let parts = request(&format!("GET whatever.host{path}"), &[]);
        let routes = tables.service_routes(&"shop/web".into(), port, audience)?;
        select(routes, &RequestHead::read(&parts).unwrap())
            .unwrap()
            .map(|it| it.route().object.name.to_string())
    };
    assert_eq!(answer(80, &Audience::Producer, "/x").as_deref(), Some("port 80"));
    assert_eq!(answer(80, &Audience::Producer, "/y").as_deref(), Some("every port"));
    assert_eq!(answer(81, &Audience::Producer, "/x").as_deref(), Some("every port"));
    assert_eq!(answer(81, &consumer(), "/x").as_deref(), Some("consumer"));
    assert_eq!(answer(81, &consumer(), "/y"), None);
    assert!(tables.service_routes(&"shop/web".into(), 80, &consumer()).is_none(), "no rules for this port");
    assert!(tables.service_routes(&"shop/other".into(), 80, &Audience::Producer).is_none());
}

#[test]
fn what_cannot_be_served_is_rejected_with_its_name_and_the_reason() {
    let of = |resources| Tables::build(&snapshot(resources), &mut Registry::default()).map(drop);
    let l = |key, host, protocol| Resource::Listener(Arc::new(Listener { protocol, ..listener(key, host) }));
    let https = || {
        ListenerProtocol::Https(TlsTermination {
            certificates: vec![],
            clients: None,
            min_version: Default::default(),
            algorithms: Default::default(),
        })
    };
    let errors =
        of(vec![l("a", Some("a.com"), ListenerProtocol::Http), l("b", Some("b.com"), https())]).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "Listener b: port 80 is taken by listener a with a protocol that cannot share it"
    );
    let errors = of(vec![l("a", None, https()), l("b", None, https())]).unwrap_err();
    assert_eq!(errors[0].to_string(), "Listener b: port 80 is taken by listener a with the same hostname");
    let hbone = || ListenerProtocol::Hbone;
    assert!(
        of(vec![l("a", Some("a.com"), hbone()), l("b", None, hbone())]).is_err(),
        "tunnels have no hostnames"
    );
    assert!(of(vec![l("a", Some("a.com"), https()), l("b", None, https())]).is_ok());

    let mut route = on("r", "a", &[]);
    let remove = vec!["transfer-encoding".parse().unwrap()];
    route.rules[0].filters = vec![Filter::RequestHeaders(HeaderModifier { remove, ..Default::default() })];
    let errors = of(vec![resource(route)]).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "Route HTTPRoute/shop/r: header `transfer-encoding` belongs to the connection and cannot be changed by a filter"
    );
}

#[test]
fn a_service_is_found_by_its_address() {
    let service = |name: &str, address: &str| {
        Resource::Service(Arc::new(Service {
            key: name.into(),
            namespace: "shop".into(),
            addresses: vec![address.parse().unwrap()],
            ports: vec![],
            waypoint: None,
            consumer_waypoints: vec![],
            routers: vec![],
        }))
    };
    let first = snapshot(vec![service("shop/a", "10.1.0.1"), service("shop/b", "10.1.0.2")]);
    let mut registry = Registry::default();
    let tables = Tables::build(&first, &mut registry).unwrap();
    let at = |tables: &Tables, address: &str| {
        tables.service_at(address.parse().unwrap()).map(|it| it.key.to_string())
    };
    assert_eq!(at(&tables, "10.1.0.2").as_deref(), Some("shop/b"));
    let (_, tables) = apply(&first, &tables, vec![service("shop/b", "10.1.0.3")], &mut registry);
    assert_eq!(at(&tables, "10.1.0.2"), None);
    assert_eq!(at(&tables, "10.1.0.3").as_deref(), Some("shop/b"));
}

/// One edit of a sequence.
#[derive(Clone, Debug)]
enum Step {
    Put(Vec<Resource>),
    Remove(ResourceKind, usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let bound_to_service = (oracle::any_route(), prop::option::of(80..82_u16), any::<bool>()).prop_map(
        |(mut route, port, is_consumer)| {
            let audience = if is_consumer {
                Audience::Consumer(route.object.namespace.clone())
            } else {
                Audience::Producer
            };
            route.attachments = vec![to_service("shop/web", port, audience)];
            resource(route)
        },
    );
    let backend = (0..4_u8, 1..4_u8)
        .prop_map(|(key, address)| backend(&format!("b{key}"), &format!("10.0.0.{address}:80")));
    let kind = prop::sample::select(vec![
        ResourceKind::Route,
        ResourceKind::Route,
        ResourceKind::Listener,
        ResourceKind::Backend,
        ResourceKind::Endpoints,
    ]);
    prop_oneof![
        4 => prop::collection::vec(oracle::any_route().prop_map(resource), 1..3).prop_map(Step::Put),
        2 => bound_to_service.prop_map(|it| Step::Put(vec![it])),
        1 => Just(Step::Put(oracle::listeners())),
        2 => backend.prop_map(Step::Put),
        3 => (kind, any::<usize>()).prop_map(|(kind, index)| Step::Remove(kind, index)),
    ]
}

fn delta(snapshot: &Snapshot, step: Step) -> Delta {
    match step {
        Step::Put(upserts) => Delta { upserts, ..Delta::default() },
        Step::Remove(kind, index) => {
            let mut keys: Vec<_> =
                snapshot.resources().map(|it| it.key()).filter(|it| it.kind == kind).collect();
            keys.sort();
            let removals = if keys.is_empty() { vec![] } else { vec![keys.swap_remove(index % keys.len())] };
            Delta { removals, ..Delta::default() }
        }
    }
}

/// Everything that tables say, in a form that can be compared.
fn said(tables: &Tables, requests: &[http::request::Parts]) -> Vec<String> {
    let mut said: Vec<String> = tables.sockets().map(|it| format!("{:?}", it.socket())).collect();
    for (key, cluster) in tables.clusters.iter() {
        let endpoints: Vec<_> =
            cluster.candidates(&Caller::default()).iter().map(|it| it.address()).collect();
        said.push(format!("{key} {:?} {endpoints:?}", cluster.protocol()));
    }
    said.sort();
    let audiences =
        [Audience::Producer, Audience::Consumer("shop".into()), Audience::Consumer("shop-b".into())];
    for parts in requests {
        let head = RequestHead::read(parts).unwrap();
        for listener in ["listener", "other"] {
            said.push(format!("{:?}", oracle::answer(tables, listener, parts)));
        }
        for (port, audience) in
            [80, 81, 82].into_iter().flat_map(|port| audiences.iter().map(move |it| (port, it)))
        {
            let routes = tables.service_routes(&"shop/web".into(), port, audience);
            let entry = routes.map(|it| {
                select(it, &head).unwrap().map(|it| (it.route().key.clone(), it.index(), it.matched()))
            });
            said.push(format!("{entry:?}"));
        }
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_sequence_of_changes_gives_what_a_rebuild_gives(
        steps in prop::collection::vec(any_step(), 1..16),
        requests in prop::collection::vec(oracle::any_request(), 8),
    ) {
        let mut registry = Registry::default();
        let (mut snapshot, mut tables) = (Snapshot::default(), Tables::default());
        for step in steps {
            let (next, changes) = snapshot.apply(delta(&snapshot, step));
            tables = tables.next(&next, &changes, &mut registry).unwrap();
            let rebuilt = Tables::build(&next, &mut Registry::default()).unwrap();
            prop_assert_eq!(said(&tables, &requests), said(&rebuilt, &requests));
            prop_assert_eq!(tables.listener_routes.len(), rebuilt.listener_routes.len(), "nothing empty is left behind");
            prop_assert_eq!(tables.services.len(), rebuilt.services.len(), "nothing empty is left behind");
            snapshot = next;
        }
    }
}

#[test]
fn the_cost_of_a_request_does_not_grow_with_the_number_of_routes() {
    let build = |size: usize| {
        let mut resources = vec![Resource::Listener(Arc::new(listener("l", None)))];
        for index in 0..size {
            let mut route = on(&format!("r{index}"), "l", &[]);
            route.rules = vec![rule(vec![prefix(&format!("/team{index}/api/v1"))], "b")];
            resources.push(resource(route));
            let name = format!("h{index}.com");
            resources.push(resource(on(&name, "l", &[(&name, &name)])));
        }
        Tables::build(&snapshot(resources), &mut Registry::default()).unwrap()
    };
    // The best of many runs: what else the machine does makes a run longer, never shorter.
    let cost = |tables: &Tables, size: usize| {
        let lines =
            [format!("GET none.com/team{}/api/v1/users", size / 2), format!("GET h{}.com/x", size / 2)];
        let parts = lines.map(|it| request(&it, &[]));
        let run = || {
            let start = tokio::time::Instant::now();
            for _ in 0..200 {
                for parts in &parts {
                    let head = RequestHead::read(parts).unwrap();
                    assert!(select(&tables.listener_routes["l"], &head).unwrap().is_some());
                }
            }
            start.elapsed()
        };
        (0..30).map(|_| run()).min().unwrap()
    };
    let (few, many) = (build(20), build(4_000));
    let (few, many) = (cost(&few, 20), cost(&many, 4_000));
    assert!(many < few * 8, "two hundred times the routes cost {many:?} instead of {few:?}");
}

#[test]
fn listeners_share_a_socket_if_the_first_bytes_tell_them_apart() {
    use ListenerProtocol::{Http, Https, Tcp, TlsPassthrough, TlsTerminate, Udp};
    let tls = || TlsTermination {
        certificates: vec![],
        clients: None,
        min_version: Default::default(),
        algorithms: Default::default(),
    };
    let l = |key, host, protocol| Resource::Listener(Arc::new(Listener { protocol, ..listener(key, host) }));
    let sockets = |a: ListenerProtocol, b: ListenerProtocol| {
        let resources = vec![l("a", Some("a.com"), a), l("b", Some("b.com"), b)];
        Tables::build(&snapshot(resources), &mut Registry::default()).map(|it| it.sockets().count()).ok()
    };
    for (a, b, expected) in [
        (Http, Http, Some(1)),
        (Https(tls()), TlsTerminate(tls()), Some(1)),
        (Https(tls()), TlsPassthrough, Some(1)),
        (TlsTerminate(tls()), TlsPassthrough, Some(1)),
        (TlsPassthrough, TlsPassthrough, Some(1)),
        (Http, TlsPassthrough, None),
        (Tcp, TlsPassthrough, None),
        (Tcp, Tcp, None),
        (Udp, Udp, None),
        // Each has ports of its own.
        (Tcp, Udp, Some(2)),
        (Https(tls()), Udp, Some(2)),
    ] {
        assert_eq!(sockets(a.clone(), b.clone()), expected, "{a:?} {b:?}");
    }
}
