use super::*;
use fairway_config::model::Generation;
use serde_json::json;

fn waypoint() -> Enforcer {
    Enforcer::Gateway(ObjectName::new("shop", "waypoint"))
}

fn backend(name: &str) -> ResourceKey {
    ResourceKey::new(ResourceKind::Backend, name)
}

#[test]
fn an_object_is_enforced_when_those_who_enforce_it_have_it_and_refuse_none_of_it() {
    let carriers = BTreeSet::from([backend("shop/web:80"), backend("shop/web:81")]);
    let enforcement = Enforcement { carriers, by: BTreeSet::from([waypoint()]) };
    let told = |name: &str| BTreeMap::from([(backend(name), "why".to_owned())]);
    let acknowledged = |acked| Delivery { ready: 1, acked: Generation(acked), ..Delivery::default() };
    for (delivery, expected) in [
        (None, Some(reason::NOT_ACKNOWLEDGED)),
        (Some(acknowledged(4)), Some(reason::NOT_ACKNOWLEDGED)),
        (Some(acknowledged(5)), None),
        (Some(Delivery { refused: told("shop/web:81"), ..acknowledged(5) }), Some(reason::REFUSED_BY_PROXY)),
        (Some(Delivery { refused: told("shop/other:81"), ..acknowledged(5) }), None),
        (Some(Delivery { closed: told("shop/web:80"), ..acknowledged(5) }), Some(reason::NOT_SUPPORTED)),
        (Some(Delivery { closed: told("shop/web:82"), ..acknowledged(5) }), None),
    ] {
        for enforcer in [waypoint(), Enforcer::Tunnels] {
            let programming =
                Programming::evaluate(&enforcer, delivery.as_ref(), Generation(5), false, false);
            let obstacle = enforcement.obstacle(&enforcer, delivery.as_ref(), &programming);
            assert_eq!(obstacle.map(|it| it.reason), expected, "{delivery:?} of {enforcer}");
        }
    }
}

#[test]
fn a_route_takes_effect_by_what_gateways_and_what_the_mesh_get_of_it() {
    let waypoint = ObjectName::new("shop", "waypoint");
    for (kind, name, of_kind) in [
        (crate::resources::Kind::HttpRoute, "HTTPRoute/shop/r", ResourceKind::Route),
        (crate::resources::Kind::TcpRoute, "TCPRoute/shop/r", ResourceKind::L4Route),
    ] {
        let route = ObjectRef::new(kind, "shop", "r");
        let enforcement = Enforcement::of_route(&route, kind.as_route().unwrap(), &waypoint);
        let names: Vec<_> = enforcement.carriers.iter().map(|it| (it.kind, it.name.to_string())).collect();
        assert_eq!(names, [(of_kind, name.to_owned()), (of_kind, format!("{name}/mesh"))]);
    }
}

fn status(list: &str, entries: &[(&str, &str, i64)]) -> Value {
    let entry = |(name, status, generation): &(&str, &str, i64)| {
        json!({
            "ancestorRef": { "name": name },
            "controllerName": "fairway.dev/controller",
            "conditions": [
                { "type": "Accepted", "status": "True", "observedGeneration": generation },
                { "type": reason::ENFORCED, "status": status, "reason": "it", "message": "m", "observedGeneration": generation },
            ],
        })
    };
    json!({ list: entries.iter().map(entry).collect::<Vec<_>>() })
}

#[test]
fn one_parent_or_ancestor_is_corrected_and_the_others_stay() {
    let obstacle = Obstacle { reason: reason::NOT_ACKNOWLEDGED, message: "waits".to_owned() };
    for list in ["parents", "ancestors"] {
        let mut corrected = status(list, &[("a", "True", 1), ("b", "True", 1), ("c", "False", 1)]);
        let before = corrected.clone();
        correct(&mut corrected, 1, Some(&obstacle), None);
        assert_eq!(corrected[list][0], before[list][0]);
        let it = &corrected[list][1]["conditions"][1];
        assert_eq!((&it["status"], &it["reason"]), (&json!("False"), &json!(reason::NOT_ACKNOWLEDGED)));
        assert_eq!(corrected[list][1]["conditions"][0], before[list][1]["conditions"][0]);
        // What compiling says is wrong is not covered by what proxies lack; what cannot be made is added to both.
        correct(&mut corrected, 2, Some(&obstacle), None);
        assert_eq!(corrected[list][2], before[list][2]);
        correct(&mut corrected, 2, None, Some("the quota is exceeded"));
        let message = &corrected[list][2]["conditions"][1]["message"];
        assert_eq!(*message, "m; the objects that it runs on cannot be made: the quota is exceeded");
        correct(&mut corrected, 9, Some(&obstacle), None);
    }
}

#[test]
fn only_the_same_ancestor_at_the_same_generation_was_enforced_before() {
    let ours = status("ancestors", &[("a", "True", 2), ("b", "True", 2)]);
    for (current, position, expected) in [
        (json!({}), 0, false),
        (status("ancestors", &[("a", "True", 2)]), 0, true),
        (status("ancestors", &[("a", "True", 2)]), 1, false),
        (status("ancestors", &[("b", "True", 2), ("a", "False", 2)]), 1, true),
        (status("ancestors", &[("b", "True", 2), ("a", "False", 2)]), 0, false),
        (status("ancestors", &[("a", "True", 1)]), 0, false),
        (json!({ "ancestors": "malformed" }), 0, false),
        (json!({ "ancestors": [null, { "conditions": {} }] }), 0, false),
    ] {
        assert_eq!(says_enforced(&current, &ours, position), expected, "{current} {position}");
    }
}
