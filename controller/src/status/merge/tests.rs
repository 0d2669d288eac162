use super::*;
use serde_json::json;

const US: &str = "fairway.dev/controller";

fn merged(current: &Value, ours: Option<&Value>) -> Option<Value> {
    merge(current, ours, Author { controller: US, now: "2026-02-02T00:00:00Z" })
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
