use super::*;
use serde_json::json;

const US: &str = "fairway.dev/controller";

fn merged(current: &Value, ours: Option<&Value>) -> Option<Value> {
    merge(current, ours, author(&[]))
}

fn author(held: &[Value]) -> Author<'_> {
    Author { controller: US, now: "2026-02-02T00:00:00Z", owns: reason::is_ours, held }
}

fn condition(kind: &str, status: &str, generation: i64) -> Value {
    json!({ "type": kind, "status": status, "reason": "R", "message": "m", "observedGeneration": generation })
}

fn at(mut condition: Value, time: &str) -> Value {
    condition["lastTransitionTime"] = json!(format!("{time}T00:00:00Z"));
    condition
}

#[test]
fn what_is_true_already_is_not_written() {
    let ours = json!({ "conditions": [condition("Accepted", "True", 1)] });
    let current = json!({ "conditions": [at(condition("Accepted", "True", 1), "2026-01-01")] });
    assert_eq!(merged(&current, Some(&ours)), None);
}

#[test]
fn a_transition_has_its_time_and_anything_else_keeps_it() {
    let current = json!({ "conditions": [at(condition("Accepted", "True", 1), "2026-01-01")] });
    for (ours, time) in [
        (condition("Accepted", "True", 2), "2026-01-01"),
        (condition("Accepted", "False", 2), "2026-02-02"),
        (condition("Accepted", "Unknown", 1), "2026-02-02"),
    ] {
        let expected = json!({ "conditions": [at(ours.clone(), time)] });
        assert_eq!(merged(&current, Some(&json!({ "conditions": [ours] }))), Some(expected));
    }
}

#[test]
fn conditions_of_others_stay_and_ours_that_no_longer_hold_go() {
    let foreign = at(condition("example.com/Checked", "True", 1), "2025-01-01");
    let current = json!({
        "addresses": [],
        "conditions": [foreign, at(condition("PartiallyInvalid", "True", 1), "2026-01-01")],
        "listeners": [
            { "name": "http", "attachedRoutes": 0, "supportedKinds": [], "conditions": [foreign] },
            { "name": "removed", "attachedRoutes": 0, "supportedKinds": [], "conditions": [foreign] },
        ],
    });
    let accepted = condition("Accepted", "True", 2);
    let listener = |conditions: Vec<Value>| json!({ "name": "http", "attachedRoutes": 3, "supportedKinds": [], "conditions": conditions });
    let ours =
        json!({ "addresses": [], "conditions": [accepted], "listeners": [listener(vec![accepted.clone()])] });
    let timed = at(accepted, "2026-02-02");
    let expected = json!({
        "conditions": [foreign, timed],
        "listeners": [listener(vec![foreign, timed.clone()])],
    });
    assert_eq!(
        merged(&current, Some(&ours)),
        Some(expected),
        "and addresses, which are the same, are not written"
    );
}

fn entry(list: &str, parent: &str, controller: &str, condition: Option<&Value>) -> Value {
    let reference = if list == "parents" { "parentRef" } else { "ancestorRef" };
    json!({ reference: { "name": parent }, "controllerName": controller, "conditions": condition.into_iter().collect::<Vec<_>>() })
}

#[test]
fn entries_of_other_controllers_stay_as_they_are_and_where_they_are() {
    for list in ["parents", "ancestors"] {
        let entry = |parent: &str, controller: &str, condition: Option<&Value>| {
            entry(list, parent, controller, condition)
        };
        let theirs =
            entry("edge", "example.com/other", Some(&at(condition("Accepted", "False", 1), "2025-01-01")));
        let old = at(condition("Accepted", "True", 1), "2026-01-01");
        let current = json!({ list: [entry("gone", US, Some(&old)), theirs, entry("edge", US, Some(&old))] });
        let accepted = condition("Accepted", "True", 2);
        let ours = json!({ list: [entry("new", US, Some(&accepted)), entry("edge", US, Some(&accepted))] });
        let expected = json!({ list: [
            theirs,
            entry("edge", US, Some(&at(accepted.clone(), "2026-01-01"))),
            entry("new", US, Some(&at(accepted, "2026-02-02"))),
        ]});
        assert_eq!(merged(&current, Some(&ours)), Some(expected));
    }
}

#[test]
fn what_we_wrote_of_what_cannot_be_read_stays_and_takes_its_room() {
    for (list, most) in [("parents", 32), ("ancestors", 16)] {
        let old = at(condition("Accepted", "True", 1), "2026-01-01");
        let entry = |name: &str, controller: &str| entry(list, name, controller, Some(&old));
        let held = [json!({ "name": "held" })];
        let before = vec![entry("gone", US), entry("held", "example.com/other"), entry("held", US)];
        let current = json!({ list: before });
        // Beside nothing else, and with nothing that was written of it.
        let none = json!({ list: [] });
        let kept = json!({ list: before[1..] });
        assert_eq!(merge(&current, Some(&none), author(&held)), Some(kept.clone()), "{list}");
        assert_eq!(merge(&kept, Some(&none), author(&held)), None, "{list}");
        assert_eq!(merge(&json!({}), Some(&none), author(&held)), None, "{list}");
        // Beside as many as the API allows.
        let ours: Vec<_> = (0..most).map(|it| entry(&format!("ours-{it}"), US)).collect();
        let mut rendered = json!({ list: ours });
        assert_eq!(fit(&current, &mut rendered, 0, author(&held)), 2, "{list}");
        let written = merge(&current, Some(&rendered), author(&held)).unwrap();
        let after = written[list].as_array().unwrap();
        assert_eq!((after.len(), &after[..2]), (most, &before[1..]), "{list}");
    }
}

#[test]
fn what_is_no_concern_of_ours_any_more_loses_our_entries_only() {
    let theirs = entry("parents", "edge", "example.com/other", None);
    let current = json!({ "parents": [entry("parents", "edge", US, None), theirs] });
    assert_eq!(merged(&current, None), Some(json!({ "parents": [theirs] })));
    assert_eq!(merged(&json!({ "parents": [theirs] }), None), None);
    assert_eq!(
        merged(&json!({ "conditions": [condition("Accepted", "True", 1)] }), None),
        None,
        "another's Gateway"
    );
}

#[test]
fn nothing_is_not_written_where_nothing_is() {
    assert_eq!(merged(&json!({}), Some(&json!({ "parents": [] }))), None);
    let theirs = entry("parents", "edge", "example.com/other", None);
    assert_eq!(merged(&json!({ "parents": [theirs] }), Some(&json!({ "parents": [] }))), None);
}

#[test]
fn a_first_status_is_written_whole() {
    let ours = json!({ "parents": [entry("parents", "edge", US, Some(&condition("Accepted", "True", 1)))] });
    let timed = at(condition("Accepted", "True", 1), "2026-02-02");
    let expected = json!({ "parents": [entry("parents", "edge", US, Some(&timed))] });
    assert_eq!(merged(&json!({}), Some(&ours)), Some(expected));
}

#[test]
fn a_list_of_entries_has_never_more_than_the_api_allows() {
    for (list, most) in [("parents", 32), ("ancestors", 16)] {
        let entry = |name: &str, controller: &str| entry(list, name, controller, None);
        let ours: Vec<_> = (0..most).map(|it| entry(&format!("ours-{it}"), US)).collect();
        for foreign in [0, 1, most - 1, most] {
            let theirs: Vec<_> =
                (0..foreign).map(|it| entry(&format!("theirs-{it}"), "example.com/other")).collect();
            // Ours from the time before there were others.
            for old in [vec![], vec![entry("ours-0", US), entry("gone", US)]] {
                let before = [old.clone(), theirs.clone()].concat();
                let current = json!({ list: before });
                let written = merged(&current, Some(&json!({ list: ours })));
                let after = written.as_ref().unwrap_or(&current)[list].as_array().unwrap().clone();
                assert_eq!(after.len(), most, "{list}, {foreign} of others");
                let kept = after.iter().filter(|it| it["controllerName"] != US);
                assert!(kept.eq(&theirs), "{list}, {foreign} of others");
                let room = after.iter().filter(|it| it["controllerName"] == US);
                assert!(room.eq(&ours[..most - foreign]), "{list}, {foreign} of others");
            }
        }
    }
}

#[test]
fn what_of_ours_has_no_room_is_counted_and_said_in_the_last_entry_that_has() {
    let most = 16;
    for (foreign, ours, left_out, lost) in [
        (0, 16, 0, 0),
        (0, 16, 5, 5),
        (1, 16, 0, 1),
        (10, 16, 5, 15),
        (16, 3, 0, 3),
        (0, 3, 0, 0),
        (20, 1, 0, 1),
    ] {
        let theirs: Vec<_> = (0..foreign)
            .map(|it| entry("ancestors", &format!("theirs-{it}"), "example.com/other", None))
            .collect();
        let said = condition("Accepted", "True", 1);
        let own: Vec<_> =
            (0..ours).map(|it| entry("ancestors", &format!("ours-{it}"), US, Some(&said))).collect();
        let (current, mut rendered) = (json!({ "ancestors": theirs }), json!({ "ancestors": own }));
        let what = format!("{foreign} of others, {ours} of ours and {left_out} more");
        assert_eq!(fit(&current, &mut rendered, left_out, author(&[])), lost, "{what}");
        let left = rendered["ancestors"].as_array().unwrap();
        assert_eq!(left.len(), ours.min(most_room(most, foreign)), "{what}");
        let tells = |it: &Value| {
            let message = it["conditions"][0]["message"].as_str().unwrap_or_default();
            message.contains(&format!("no room for {lost} more ancestors"))
        };
        let tellers: Vec<usize> =
            left.iter().enumerate().filter(|(_, it)| tells(it)).map(|(at, _)| at).collect();
        let last = left.len().checked_sub(1).filter(|_| lost > 0);
        assert_eq!(tellers, Vec::from_iter(last), "{what}");
    }
}

fn most_room(most: usize, foreign: usize) -> usize {
    most.saturating_sub(foreign)
}

#[test]
fn a_list_of_conditions_has_never_more_than_the_api_allows() {
    let ours: Vec<_> = ["Accepted", "ResolvedRefs", "PartiallyInvalid", "fairway.dev/Enforced"]
        .map(|it| condition(it, "True", 1))
        .to_vec();
    for (foreign, expected) in [(0, 4), (4, 4), (5, 3), (7, 1), (8, 0)] {
        let theirs: Vec<_> =
            (0..foreign).map(|it| condition(&format!("example.com/{it}"), "True", 1)).collect();
        let old = at(condition("fairway.dev/Enforced", "False", 1), "2026-01-01");
        let before = [theirs.clone(), vec![old]].concat();
        let current = json!({ "conditions": before });
        let written = merged(&current, Some(&json!({ "conditions": ours }))).unwrap();
        let after = written["conditions"].as_array().unwrap();
        assert!(after.len() <= 8 && after[..foreign] == theirs, "{foreign}");
        let kinds: Vec<_> = after[foreign..].iter().map(|it| it["type"].as_str().unwrap()).collect();
        // Those that the API asks for come first.
        let expected: Vec<_> = ours[..expected].iter().map(|it| it["type"].as_str().unwrap()).collect();
        let sorted = |mut it: Vec<String>| {
            it.sort();
            it
        };
        let owned = |it: Vec<&str>| it.into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(sorted(owned(kinds)), sorted(owned(expected)), "{foreign}");
    }
}

#[test]
fn a_gateway_has_never_more_addresses_than_the_api_allows() {
    let ours: Vec<_> =
        (0..20).map(|it| json!({ "type": "IPAddress", "value": format!("10.0.0.{it}") })).collect();
    let written = merged(&json!({}), Some(&json!({ "addresses": ours }))).unwrap();
    assert_eq!(written["addresses"].as_array().unwrap(), &ours[..16]);
}

#[test]
fn of_an_object_of_others_only_our_own_domain_is_ours() {
    let others = at(condition("Programmed", "True", 1), "2026-01-01");
    let ours = condition(reason::THROUGH_WAYPOINT, "True", 1);
    let current =
        json!({ "conditions": [others, at(condition("fairway.dev/Old", "True", 1), "2026-01-01")] });
    let author = Author { owns: reason::is_own, ..author(&[]) };
    let expected = json!({ "conditions": [others, at(ours.clone(), "2026-02-02")] });
    assert_eq!(merge(&current, Some(&json!({ "conditions": [ours] })), author), Some(expected));
}
