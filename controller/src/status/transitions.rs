//! What a write of a status changes that is worth an Event.

use super::reason;
use crate::events::Event;
use serde_json::Value;

/// What a write of a status changes that is worth telling: that the whole is now `Accepted` or `Programmed`, and
/// whatever became bad. What is still to come is no news.
pub fn events_of_change(before: &Value, written: &Value) -> Vec<Event> {
    let mut out: Vec<Event> = Vec::new();
    for (place, condition) in conditions(written) {
        let kind = condition["type"].as_str().unwrap_or_default();
        let was =
            conditions(before).into_iter().find(|(at, it)| *at == place && it["type"] == condition["type"]);
        let same = |field: &str| was.as_ref().is_some_and(|(_, it)| it[field] == condition[field]);
        let good = reason::is_good(kind, condition["status"].as_str().unwrap_or_default());
        let worth = match good {
            true => {
                matches!(kind, reason::ACCEPTED | reason::PROGRAMMED)
                    && !place.starts_with("listener ")
                    && !same("status")
            }
            false => {
                let is_to_come =
                    [reason::PENDING, reason::NOT_ACKNOWLEDGED].iter().any(|it| condition["reason"] == *it);
                let is_other = !same("status")
                    || !same("reason")
                    || (kind == reason::IGNORED_FIELDS && !same("message"));
                !is_to_come && is_other
            }
        };
        if !worth || !reason::is_ours(kind) {
            continue;
        }
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
        let it =
            Event { good, reason: text("reason").to_owned(), note: format!("{place}{}", text("message")) };
        if !out.contains(&it) {
            out.push(it);
        }
    }
    out
}

/// Every condition, and where it is.
fn conditions(status: &Value) -> Vec<(String, &Value)> {
    let whole = status["conditions"].as_array().into_iter().flatten();
    let mut out: Vec<(String, &Value)> = whole.map(|it| (String::new(), it)).collect();
    for (part, name) in [("listeners", "name"), ("parents", "parentRef"), ("ancestors", "ancestorRef")] {
        for entry in status[part].as_array().into_iter().flatten() {
            let called = match &entry[name] {
                Value::String(listener) => format!("listener {listener}"),
                reference => {
                    let text = |field: &str| reference[field].as_str().unwrap_or_default();
                    let kind = if text("kind").is_empty() { "Gateway" } else { text("kind") };
                    [kind, text("name"), text("sectionName")].join(" ").trim_end().to_owned()
                }
            };
            let conditions = entry["conditions"].as_array().into_iter().flatten();
            out.extend(conditions.map(|it| (called.clone(), it)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_became_good_or_bad_is_told() {
        let status = |accepted: &str, refs: &str| {
            json!({ "parents": [{ "parentRef": { "name": "edge" }, "conditions": [
                { "type": "Accepted", "status": accepted, "reason": "A", "message": "a" },
                { "type": "ResolvedRefs", "status": refs, "reason": "R", "message": "r" },
            ]}]})
        };
        let told = |before: &Value, after: &Value| -> Vec<(bool, String)> {
            events_of_change(before, after).into_iter().map(|it| (it.good, it.note)).collect()
        };
        let (good, bad) = (status("True", "True"), status("True", "False"));
        assert_eq!(told(&json!({}), &good), [(true, "Gateway edge: a".to_owned())]);
        assert_eq!(told(&good, &bad), [(false, "Gateway edge: r".to_owned())]);
        assert_eq!(told(&bad, &bad), []);
        assert_eq!(told(&bad, &good), [], "that a reference leads somewhere again is no news");
    }

    #[test]
    fn fields_without_effect_are_told_of_whenever_there_are_others() {
        let status = |fields: &[&str]| {
            let condition = |it: &&str| json!({ "type": reason::IGNORED_FIELDS, "status": "True", "reason": reason::NOT_SUPPORTED, "message": it });
            let conditions: Vec<Value> = fields.iter().map(condition).collect();
            json!({ "conditions": conditions })
        };
        let told = |before: &[&str], after: &[&str]| -> Vec<(bool, String)> {
            events_of_change(&status(before), &status(after))
                .into_iter()
                .map(|it| (it.good, it.note))
                .collect()
        };
        assert_eq!(told(&[], &["spec.a"]), [(false, "spec.a".to_owned())]);
        assert_eq!(told(&["spec.a"], &["spec.a"]), []);
        assert_eq!(told(&["spec.a"], &["spec.a. spec.b"]), [(false, "spec.a. spec.b".to_owned())]);
        assert_eq!(told(&["spec.a"], &[]), []);
    }
}
