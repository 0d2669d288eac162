use super::*;
use fairway_config::Rejected;
use fairway_config::model::ObjectName;
use fairway_config::stream::Proxy;

fn state(gateway: &str, acked: u64, rejected: &[(ResourceKind, &str)]) -> ProxyState {
    ProxyState {
        proxy: Proxy::Gateway(ObjectName::new("edge", gateway)),
        version: "1".into(),
        acked: Generation(acked),
        rejected: rejected
            .iter()
            .map(|(kind, name)| Rejected { key: ResourceKey::new(*kind, *name), reason: "why".to_owned() })
            .collect(),
        closed: BTreeMap::new(),
    }
}

#[test]
fn a_gateway_is_in_force_when_every_ready_proxy_has_it() {
    let public = Enforcer::Gateway(ObjectName::new("edge", "public"));
    for (acked, required, was, lost_briefly, expected) in [
        (vec![], 5, false, true, false),
        (vec![], 5, true, true, true), // its proxies are on their way
        (vec![], 5, true, false, false),
        (vec![4], 5, true, true, false),
        (vec![5], 5, false, false, true),
        (vec![7, 4], 5, true, true, false),
        (vec![7, 5], 5, false, false, true),
        (vec![7, 0], 5, false, false, true), // the second has just started and gets no traffic
        (vec![0], 5, false, true, false),
    ] {
        let states: Vec<ProxyState> = acked.iter().map(|it| state("public", *it, &[])).collect();
        let deliveries = deliveries(&states);
        let evaluated =
            Programming::evaluate(&public, deliveries.get(&public), Generation(required), was, lost_briefly);
        assert_eq!(
            evaluated == Programming::InForce,
            expected,
            "{acked:?} of {required}, was {was}: {evaluated:?}"
        );
    }
}

fn gateway_status() -> Value {
    let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": kind, "message": "m", "observedGeneration": 2 });
    let conditions = json!([condition("Accepted", "True"), condition("Programmed", "True")]);
    let failed = json!([condition("Programmed", "False")]);
    json!({
        "conditions": conditions,
        "listeners": [{ "name": "http", "conditions": conditions }, { "name": "bad", "conditions": failed }],
    })
}

fn find<'a>(conditions: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let it = conditions.as_array().unwrap().iter().find(|it| it["type"] == kind).unwrap();
    (it["status"].as_str().unwrap(), it["reason"].as_str().unwrap())
}

#[test]
fn what_is_pending_is_not_programmed_and_what_failed_keeps_its_reason() {
    let object = ObjectRef::new(Kind::Gateway, "edge", "public");
    let mut status = gateway_status();
    apply(&mut status, &object, &Programming::Pending("waits".to_owned()), &Refusals::default());
    assert_eq!(find(&status["conditions"], "Accepted"), ("True", "Accepted"));
    assert_eq!(find(&status["conditions"], "Programmed"), ("False", "Pending"));
    assert_eq!(find(&status["listeners"][0]["conditions"], "Programmed"), ("False", "Pending"));
    assert_eq!(find(&status["listeners"][1]["conditions"], "Programmed"), ("False", "Programmed"));
}

#[test]
fn a_refusal_is_told_to_the_object_it_comes_from() {
    let refused = [
        (ResourceKind::Listener, "edge/public/http"),
        (ResourceKind::Listener, "edge/public/team/more/own"),
        (ResourceKind::Route, "HTTPRoute/shop/reviews"),
        (ResourceKind::Route, "HTTPRoute/shop/both/mesh"), // one that serves Gateways and the mesh differently
        (ResourceKind::L4Route, "TCPRoute/shop/bytes"),
        (ResourceKind::Certificate, "edge/cert"),
    ];
    let refusals = Refusals::from_deliveries(&deliveries(&[state("public", 3, &refused)]));
    let gateway = ObjectRef::new(Kind::Gateway, "edge", "public");
    let route = ObjectRef::new(Kind::HttpRoute, "shop", "reviews");
    let set = ObjectRef::new(Kind::ListenerSet, "team", "more");
    let both = ObjectRef::new(Kind::HttpRoute, "shop", "both");
    let bytes = ObjectRef::new(Kind::TcpRoute, "shop", "bytes");
    assert_eq!(
        refusals.differing(&Refusals::default()),
        BTreeSet::from([gateway.clone(), route.clone(), set.clone(), both, bytes])
    );
    let condition = json!({ "type": "Programmed", "status": "True", "reason": "Programmed" });
    let mut status = json!({ "listeners": [{ "name": "own", "conditions": [condition] }] });
    apply(&mut status, &set, &Programming::InForce, &refusals);
    assert_eq!(find(&status["listeners"][0]["conditions"], "Programmed"), ("False", "Invalid"));

    let mut status = gateway_status();
    apply(&mut status, &gateway, &Programming::InForce, &refusals);
    assert_eq!(find(&status["listeners"][0]["conditions"], "Programmed"), ("False", "Invalid"));
    assert_eq!(
        find(&status["conditions"], "Programmed"),
        ("False", "Invalid"),
        "none of its listeners is served"
    );
    assert_eq!(find(&status["conditions"], reason::REFUSED).0, "True", "the certificate");

    let mut status = gateway_status();
    let other = json!({ "name": "other", "conditions": status["conditions"] });
    status["listeners"].as_array_mut().unwrap().push(other);
    apply(&mut status, &gateway, &Programming::InForce, &refusals);
    assert_eq!(find(&status["listeners"][0]["conditions"], "Programmed"), ("False", "Invalid"));
    assert_eq!(find(&status["conditions"], "Programmed").0, "True", "another one is");
    let messages: Vec<String> = refusals.messages().collect();
    assert!(messages.iter().any(|it| it.starts_with("ListenerSet team/more: ")), "{messages:?}");

    let parent = json!({ "parentRef": { "name": "public" }, "conditions": [{ "type": "Accepted", "status": "True", "observedGeneration": 7 }] });
    let mut status = json!({ "parents": [parent] });
    apply(&mut status, &route, &Programming::InForce, &refusals);
    let conditions = &status["parents"][0]["conditions"];
    assert_eq!(find(conditions, reason::REFUSED), ("True", "Refused"));
    assert_eq!(conditions[1]["observedGeneration"], 7);
    let message = conditions[1]["message"].as_str().unwrap();
    assert!(message.contains("HTTPRoute/shop/reviews") && message.contains("why"), "{message}");
}

#[test]
fn only_the_same_generation_was_programmed_before() {
    let (ours, mut current) = (gateway_status(), gateway_status());
    assert!(says_programmed(&current, &ours));
    for condition in render::list_mut(&mut current, "conditions") {
        condition["observedGeneration"] = json!(1);
    }
    assert!(!says_programmed(&current, &ours));
    assert!(!says_programmed(&json!({}), &ours));
}

#[test]
fn the_tunnels_are_as_far_as_the_one_that_is_behind_most() {
    let node = |name: &str, acked| ProxyState { proxy: Proxy::Node(name.into()), ..state("", acked, &[]) };
    let states = [node("a", 7), node("b", 4), node("starts", 0), state("public", 9, &[])];
    let tunnels = deliveries(&states).remove(&Enforcer::Tunnels).unwrap();
    assert_eq!((tunnels.ready, tunnels.acked), (2, Generation(4)));
}
