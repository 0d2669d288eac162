//! The writer against an API server in memory: source, status cache and writer together.

use super::*;
use crate::resources::{Address, AssignedAddress, Kind, Routability};
use crate::serve::Hub;
use crate::source::Cluster;
use crate::source::cluster::tests::Server;
use crate::status::{
    AncestorStatus, Condition, Enforcement, GatewayStatus, ObjectStatus, ParentRef, ParentStatus,
    PolicyStatus, RouteStatus, StatusChanges, reason,
};
use fairway_config::model::{ResourceKey, ResourceKind};
use fairway_config::stream::{Proxy, Subscription, client};
use fairway_config::{Apply, Changes, Rejected, Snapshot};
use tokio::time::sleep;

const US: &str = "fairway.dev/controller";

fn route_status(generation: i64) -> ObjectStatus {
    ObjectStatus::Route(RouteStatus {
        parents: vec![ParentStatus {
            parent_ref: ParentRef { name: "public".into(), ..ParentRef::default() },
            controller_name: US.into(),
            conditions: vec![Condition::holds(reason::ACCEPTED, reason::ACCEPTED, "fine", generation)],
            waypoint: None,
        }],
        ..RouteStatus::default()
    })
}

fn gateway_status(attached: u32) -> ObjectStatus {
    let conditions = vec![Condition::holds(reason::PROGRAMMED, reason::PROGRAMMED, "served", 1)];
    let listener = crate::status::ListenerStatus {
        name: "http".into(),
        supported_kinds: Vec::new(),
        attached_routes: attached,
        conditions: conditions.clone(),
    };
    ObjectStatus::Gateway(GatewayStatus {
        addresses: Vec::new(),
        attached_listener_sets: Some(0),
        conditions,
        listeners: Some(vec![listener]),
    })
}

fn route(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::HttpRoute, "shop", name)
}

fn gateway() -> ObjectRef {
    ObjectRef::new(Kind::Gateway, "edge", "public")
}

/// A proxy that takes what it is given.
struct TakesAll;

impl Apply for TakesAll {
    fn apply(&mut self, _: &Snapshot, _: &Changes) -> Result<(), Vec<Rejected>> {
        Ok(())
    }
}

/// A cluster whose objects are followed into a status cache, and a writer that leads.
struct Scene {
    server: Server,
    status_cache: Arc<StatusCache>,
    hub: Arc<Hub>,
    troubles: watch::Sender<Troubles>,
}

impl Scene {
    async fn new() -> Self {
        let (troubles, known_troubles) = watch::channel(Troubles::default());
        let scene = Self { server: Server::new(), status_cache: Arc::default(), hub: Hub::new(), troubles };
        let spec = json!({ "gatewayClassName": "fairway", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] });
        scene.server.put(
            Kind::Gateway,
            json!({ "metadata": { "namespace": "edge", "name": "public", "uid": "g" }, "spec": spec }),
        );
        let (mut cluster, status_cache) = (Cluster::watch(scene.server.client()), scene.status_cache.clone());
        tokio::spawn(async move {
            while let Some(changes) = cluster.next_changes().await {
                status_cache.apply(StatusChanges { records: changes.records, ..StatusChanges::default() });
            }
        });
        let client = scene.server.client();
        let events = Recorder::start(client.clone(), "test".into());
        let writer = Writer::new(
            client,
            US.into(),
            scene.status_cache.clone(),
            scene.hub.states(),
            known_troubles,
            events,
        );
        tokio::spawn(writer.run());
        sleep(Duration::from_secs(1)).await;
        scene
    }

    fn put_route(&self, name: &str, status: Value) {
        let spec = json!({ "parentRefs": [{ "name": "public" }] });
        let metadata = json!({ "namespace": "shop", "name": name, "uid": name });
        self.server.put(Kind::HttpRoute, json!({ "metadata": metadata, "spec": spec, "status": status }));
    }

    fn evaluate(&self, object: ObjectRef, status: Option<ObjectStatus>) {
        self.status_cache
            .apply(StatusChanges { statuses: vec![(object, status)], ..StatusChanges::default() });
    }

    fn parents(&self, name: &str) -> Value {
        self.server.get(Kind::HttpRoute, "shop", name)["status"]["parents"].clone()
    }

    /// A proxy of a Gateway, or a waypoint, that takes what it is given.
    fn connect(&self, gateway: ObjectName) -> tokio::task::JoinHandle<()> {
        let subscription = Subscription::new(Proxy::Gateway(gateway), "1");
        let hub = self.hub.clone();
        let (_, run) =
            client::follow_channel(move || hub.subscribe_channel(), subscription, None, Box::new(TakesAll));
        tokio::spawn(async move { match run.await {} })
    }

    /// The status and the message of the condition that says whether a route is enforced.
    fn enforced(&self, name: &str) -> (String, String) {
        let condition = self.parents(name)[0]["conditions"][0].clone();
        assert_eq!(condition["type"], reason::ENFORCED);
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        (text(&condition["status"]), text(&condition["message"]))
    }

    fn programmed(&self) -> (String, String) {
        let status = self.server.get(Kind::Gateway, "edge", "public")["status"].clone();
        let it = &status["conditions"][0];
        (
            it["status"].as_str().unwrap_or_default().to_owned(),
            it["reason"].as_str().unwrap_or_default().to_owned(),
        )
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_once_and_taken_away_when_it_is_no_longer_ours() {
    let scene = Scene::new().await;
    let theirs = json!({ "parentRef": { "name": "x" }, "controllerName": "example.com/x", "conditions": [] });
    scene.put_route("a", json!({ "parents": [theirs] }));
    scene.evaluate(route("a"), Some(route_status(1)));
    sleep(Duration::from_secs(5)).await;
    let parents = scene.parents("a");
    assert_eq!((&parents[0], &parents[1]["controllerName"]), (&theirs, &json!(US)));
    assert_eq!(scene.server.take_patches().len(), 1, "its own echo is no reason to write");

    scene.evaluate(route("a"), None);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(scene.parents("a"), json!([theirs]));
}

#[tokio::test(start_paused = true)]
async fn what_another_writes_at_the_same_time_is_not_lost() {
    let scene = Scene::new().await;
    scene.put_route("a", json!({ "parents": [] }));
    sleep(Duration::from_secs(1)).await;
    scene.evaluate(route("a"), Some(route_status(1)));
    // The writer makes its patch in 60 ms; by then the object has another version that it has not heard of yet.
    sleep(Duration::from_millis(59)).await;
    let theirs = json!({ "parentRef": { "name": "x" }, "controllerName": "example.com/x", "conditions": [] });
    scene.put_route("a", json!({ "parents": [theirs] }));
    sleep(Duration::from_secs(5)).await;
    let parents = scene.parents("a");
    assert_eq!(parents.as_array().unwrap().len(), 2, "{parents}");
    assert_eq!(parents[0], theirs);
    assert_eq!(scene.server.take_patches().len(), 2, "the first was refused for its version");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_attached_routes_are_right_within_a_second_with_few_writes() {
    let scene = Scene::new().await;
    for index in 0..1000 {
        scene.put_route(&format!("r{index}"), json!({ "parents": [] }));
    }
    for index in 0..1000 {
        scene.evaluate(route(&format!("r{index}")), Some(route_status(1)));
        scene.evaluate(gateway(), Some(gateway_status(index + 1)));
        if index % 10 == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    sleep(Duration::from_secs(1)).await;
    let status = scene.server.get(Kind::Gateway, "edge", "public")["status"].clone();
    assert_eq!(status["listeners"][0]["attachedRoutes"], 1000);
    assert!((0..1000).all(|it| scene.parents(&format!("r{it}"))[0]["controllerName"] == US));
    let patches = scene.server.take_patches();
    let of_gateway = patches.iter().filter(|(path, _)| path.contains("/gateways/")).count();
    assert!(of_gateway <= 15, "{of_gateway} writes");
    assert_eq!(patches.len() - of_gateway, 1000);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_is_programmed_when_its_proxy_has_acknowledged() {
    let scene = Scene::new().await;
    scene.evaluate(gateway(), Some(gateway_status(0)));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.programmed(), ("False".to_owned(), "Pending".to_owned()));

    scene.hub.commit(Vec::new(), Vec::new());
    let proxy = scene.connect(gateway().object_name());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.programmed(), ("True".to_owned(), "Programmed".to_owned()));

    proxy.abort();
    sleep(RECONNECT / 2).await;
    assert_eq!(scene.programmed().0, "True", "it may come back");
    sleep(RECONNECT).await;
    assert_eq!(scene.programmed(), ("False".to_owned(), "Pending".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_route_is_enforced_when_its_waypoint_has_acknowledged() {
    let scene = Scene::new().await;
    let waypoint = ObjectName::new("shop", "waypoint");
    let evaluate = |bound: bool| {
        let condition = match bound {
            true => Condition::holds(reason::ENFORCED, reason::BY_WAYPOINT, "it does", 1),
            false => Condition::fails(reason::ENFORCED, reason::PENDING, "not ready", 1),
        };
        let ObjectStatus::Route(mut status) = route_status(1) else { return };
        status.parents[0].conditions = vec![condition];
        status.parents[0].waypoint = Some(waypoint.clone());
        scene.evaluate(route("a"), Some(ObjectStatus::Route(status)));
    };
    scene.put_route("a", json!({ "parents": [] }));
    evaluate(false);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.enforced("a"), ("False".to_owned(), "not ready".to_owned()));

    scene.troubles.send_modify(|it| drop(it.insert(waypoint.clone(), "quota".to_owned())));
    sleep(Duration::from_secs(1)).await;
    assert!(scene.enforced("a").1.ends_with("cannot be made: quota"), "{:?}", scene.enforced("a"));
    scene.troubles.send_modify(Troubles::clear);

    // Traffic has been moved to it, but it does not have this route.
    let generation = scene.hub.commit(Vec::new(), Vec::new());
    evaluate(true);
    scene.status_cache.apply(StatusChanges {
        resources: vec![ResourceKey::new(ResourceKind::Route, "HTTPRoute/shop/a")],
        generation,
        ..StatusChanges::default()
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.enforced("a").0, "False");
    let reason = &scene.parents("a")[0]["conditions"][0]["reason"];
    assert_eq!(reason, reason::NOT_ACKNOWLEDGED, "`Pending` would say that traffic goes without it");
    let proxy = scene.connect(waypoint.clone());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.enforced("a"), ("True".to_owned(), "it does".to_owned()));

    proxy.abort();
    sleep(RECONNECT / 2).await;
    assert_eq!(scene.enforced("a").0, "True", "it may come back");
    sleep(RECONNECT).await;
    assert_eq!(scene.enforced("a").0, "False");
}

#[tokio::test(start_paused = true)]
async fn a_policy_is_enforced_for_each_ancestor_whose_proxies_have_acknowledged_its_last_change() {
    let scene = Scene::new().await;
    let policy = ObjectRef::new(Kind::BackendTlsPolicy, "shop", "p");
    let carrier = ResourceKey::new(ResourceKind::Backend, "shop/web:443");
    let (public, internal) = (ObjectName::new("edge", "public"), ObjectName::new("edge", "internal"));
    let ancestor = |gateway: &ObjectName| AncestorStatus {
        ancestor_ref: ParentRef { name: gateway.name.clone(), ..ParentRef::default() },
        controller_name: US.into(),
        conditions: vec![Condition::holds(reason::ENFORCED, reason::BY_PROXIES, "they do", 1)],
        enforcement: Enforcement {
            carriers: [carrier.clone()].into(),
            by: [Enforcer::Gateway(gateway.clone())].into(),
        },
    };
    let metadata = json!({ "namespace": "shop", "name": "p", "uid": "p" });
    let spec = json!({ "targetRefs": [], "validation": { "hostname": "x" } });
    scene.server.put(Kind::BackendTlsPolicy, json!({ "metadata": metadata, "spec": spec }));
    let said = || {
        let policy = scene.server.get(Kind::BackendTlsPolicy, "shop", "p");
        let ancestors = policy["status"]["ancestors"].as_array().cloned().unwrap_or_default();
        ancestors.iter().map(|it| it["conditions"][0]["status"] == "True").collect::<Vec<_>>()
    };
    let commit = |ancestors: &[&ObjectName], resources: Vec<ResourceKey>| {
        let generation = scene.hub.commit(Vec::new(), Vec::new());
        let ancestors = ancestors.iter().map(|it| ancestor(it)).collect();
        let status = ObjectStatus::Policy(PolicyStatus { ancestors, ..PolicyStatus::default() });
        let statuses = vec![(policy.clone(), Some(status))];
        scene.status_cache.apply(StatusChanges {
            statuses,
            resources,
            generation,
            ..StatusChanges::default()
        });
    };
    let first = scene.connect(public.clone());
    commit(&[&public, &internal], vec![carrier.clone()]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(said(), [true, false], "no proxy of the second has it");
    let second = scene.connect(internal.clone());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(said(), [true, true]);

    // Without proxies nobody acknowledges the next change.
    first.abort();
    second.abort();
    sleep(RECONNECT / 2).await;
    assert_eq!(said(), [true, true], "they may come back");
    sleep(RECONNECT).await;
    assert_eq!(said(), [false, false]);
    let _first = scene.connect(public.clone());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(said(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_asked_again() {
    let scene = Scene::new().await;
    scene.put_route("a", json!({ "parents": [] }));
    sleep(Duration::from_secs(1)).await;
    scene.server.set_down(true);
    scene.evaluate(route("a"), Some(route_status(1)));
    sleep(Duration::from_secs(20)).await;
    scene.server.set_down(false);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(scene.parents("a")[0]["controllerName"], US);
}

#[tokio::test(start_paused = true)]
async fn a_field_that_the_installed_kind_does_not_have_is_not_written_over_and_over() {
    let scene = Scene::new().await;
    let address = AssignedAddress {
        address: Address::Ip("192.0.2.1".parse().unwrap()),
        routability: Routability::Default,
    };
    let status = |attached| {
        let ObjectStatus::Gateway(status) = gateway_status(attached) else { panic!() };
        Some(ObjectStatus::Gateway(GatewayStatus { addresses: vec![address.clone()], ..status }))
    };
    scene.evaluate(gateway(), status(0));
    sleep(Duration::from_secs(10)).await;
    assert!(!scene.server.take_patches().is_empty());
    for _ in 0..5 {
        scene.evaluate(gateway(), status(0));
        sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(scene.server.take_patches(), []);
    scene.evaluate(gateway(), status(1));
    sleep(Duration::from_secs(10)).await;
    let shown = scene.server.get(Kind::Gateway, "edge", "public")["status"].clone();
    assert_eq!(
        (&shown["listeners"][0]["attachedRoutes"], &shown["addresses"][0]["value"]),
        (&json!(1), &json!("192.0.2.1"))
    );
}

#[tokio::test(start_paused = true)]
async fn only_a_listener_set_that_was_ours_is_said_to_have_lost_its_gateway() {
    let scene = Scene::new().await;
    let written = |scene: &Scene, name: &str| {
        let status = scene.server.get(Kind::ListenerSet, "edge", name)["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let row = |it: &Value| format!("{}={}", it["type"], it["status"]).replace('"', "");
        (conditions.iter().map(row).collect::<Vec<_>>(), status["listeners"].clone())
    };
    let accepted = |status: &str| json!({ "type": "Accepted", "status": status, "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1 });
    let set = |name: &str| ObjectRef::new(Kind::ListenerSet, "edge", name);
    for name in ["ours", "theirs"] {
        let spec = json!({ "parentRef": { "name": "gone" }, "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] });
        let metadata = json!({ "namespace": "edge", "name": name, "uid": name });
        let listeners =
            json!([{ "name": "http", "attachedRoutes": 1, "supportedKinds": [], "conditions": [] }]);
        let status = json!({ "conditions": [accepted("True")], "listeners": listeners });
        scene.server.put(Kind::ListenerSet, json!({ "metadata": metadata, "spec": spec, "status": status }));
    }
    let conditions = vec![Condition::holds(reason::ACCEPTED, reason::ACCEPTED, "fine", 1)];
    let ours = crate::status::ListenerSetStatus { conditions, listeners: Vec::new(), is_orphan: false };
    scene.evaluate(set("ours"), Some(ObjectStatus::ListenerSet(ours)));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(written(&scene, "ours").0, ["Accepted=True"]);
    let orphan = crate::status::ListenerSetStatus::orphan(&ObjectName::new("edge", "gone"), 1);
    for name in ["ours", "theirs"] {
        scene.evaluate(set(name), Some(ObjectStatus::ListenerSet(orphan.clone())));
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        written(&scene, "ours"),
        (vec!["Accepted=Unknown".to_owned(), "Programmed=Unknown".to_owned()], json!([]))
    );
    let (conditions, listeners) = written(&scene, "theirs");
    assert_eq!((conditions, listeners.as_array().unwrap().len()), (vec!["Accepted=True".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_written_of_what_cannot_be_read_stays_until_it_can_be_read_or_is_gone() {
    let scene = Scene::new().await;
    scene.put_route("a", json!({ "parents": [] }));
    scene.evaluate(route("a"), Some(route_status(1)));
    sleep(Duration::from_secs(5)).await;
    let before = scene.parents("a");
    assert_eq!(before.as_array().unwrap().len(), 1);
    let held = ParentRef { name: "public".into(), ..ParentRef::default() };
    let status = RouteStatus { held: vec![held], ..RouteStatus::default() };
    scene.evaluate(route("a"), Some(ObjectStatus::Route(status)));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(scene.parents("a"), before);
    scene.evaluate(route("a"), Some(ObjectStatus::Route(RouteStatus::default())));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(scene.parents("a"), json!([]));
    // Of a ListenerSet it is the whole status.
    let spec = json!({ "parentRef": { "name": "public" }, "listeners": [{ "name": "http", "port": 81, "protocol": "HTTP" }] });
    let status = json!({
        "conditions": [{ "type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
        "listeners": [{ "name": "http", "attachedRoutes": 1, "supportedKinds": [], "conditions": [] }],
    });
    let metadata = json!({ "namespace": "edge", "name": "more", "uid": "more" });
    scene.server.put(Kind::ListenerSet, json!({ "metadata": metadata, "spec": spec, "status": status }));
    scene.evaluate(ObjectRef::new(Kind::ListenerSet, "edge", "more"), Some(ObjectStatus::Held));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(scene.server.get(Kind::ListenerSet, "edge", "more")["status"], status);
    // What of a Gateway cannot be said is left out, and stays.
    let ObjectStatus::Gateway(known) = gateway_status(3) else { panic!() };
    scene.evaluate(gateway(), Some(ObjectStatus::Gateway(known.clone())));
    sleep(Duration::from_secs(5)).await;
    let unknown = GatewayStatus { listeners: None, attached_listener_sets: None, ..known };
    scene.evaluate(gateway(), Some(ObjectStatus::Gateway(unknown)));
    sleep(Duration::from_secs(5)).await;
    let shown = scene.server.get(Kind::Gateway, "edge", "public")["status"].clone();
    assert_eq!(
        (&shown["listeners"][0]["attachedRoutes"], &shown["attachedListenerSets"]),
        (&json!(3), &json!(0))
    );
}
