//! What has to be written so that an object's status says what is true, and what others wrote stays.
//!
//! Ours are: of a list of parents or ancestors the entries with our controllerName, and of conditions those of the
//! types we are responsible for. Everything else is kept as it is.

use super::reason;
use serde_json::{Map, Value};

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    pub controller: &'a str,
    /// The time of transitions that happen now, as RFC 3339 has it.
    pub now: &'a str,
}

/// The lists of entries that belong to controllers.
const ENTRIES: [(&str, &str); 2] = [("parents", "parentRef"), ("ancestors", "ancestorRef")];

/// The fields of `status` to write, for a JSON merge patch; none when it already says what is true. `ours` is none for an
/// object that is no concern of ours (any more): then only our entries are taken out.
pub fn merge(current: &Value, ours: Option<&Value>, author: Author<'_>) -> Option<Value> {
    let merged = match ours {
        Some(ours) => whole(current, ours, author),
        None => without_ours(current, author.controller),
    };
    let is_news = |field: &str, value: &Value| match current.get(field) {
        Some(now) => now != value,
        // Nothing is said already by not being there.
        None => value.as_array().is_none_or(|it| !it.is_empty()),
    };
    let changed: Map<String, Value> =
        merged.into_iter().filter(|(field, value)| is_news(field, value)).collect();
    (!changed.is_empty()).then_some(Value::Object(changed))
}

fn whole(current: &Value, ours: &Value, author: Author<'_>) -> Map<String, Value> {
    let fields = ours.as_object().into_iter().flatten();
    let merged = fields.map(|(field, value)| {
        let before = list(current, field);
        let merged = match (field.as_str(), ENTRIES.iter().find(|(name, _)| name == field)) {
            ("conditions", _) => conditions(before, list(ours, field), author.now),
            ("listeners", _) => listeners(before, list(ours, field), author.now),
            (_, Some((_, reference))) => entries(before, list(ours, field), reference, author),
            _ => value.clone(),
        };
        (field.clone(), merged)
    });
    merged.collect()
}

fn without_ours(current: &Value, controller: &str) -> Map<String, Value> {
    let foreign = |field: &str| {
        let before = list(current, field);
        let kept: Vec<Value> = before.iter().filter(|it| !is_ours(it, controller)).cloned().collect();
        (kept.len() < before.len()).then_some((field.to_owned(), Value::Array(kept)))
    };
    let mut out: Map<String, Value> = ENTRIES.iter().filter_map(|(field, _)| foreign(field)).collect();
    let before = list(current, "conditions");
    let is_foreign = |it: &&Value| !reason::is_own(it["type"].as_str().unwrap_or_default());
    let kept: Vec<Value> = before.iter().filter(is_foreign).cloned().collect();
    if kept.len() < before.len() {
        out.insert("conditions".to_owned(), Value::Array(kept));
    }
    out
}

fn list<'a>(status: &'a Value, field: &str) -> &'a [Value] {
    status[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn is_ours(entry: &Value, controller: &str) -> bool {
    entry["controllerName"] == controller
}

/// Entries stay where they are; new ones come last.
fn entries(before: &[Value], ours: &[Value], reference: &str, author: Author<'_>) -> Value {
    let mut left: Vec<&Value> = ours.iter().collect();
    let mut out = Vec::with_capacity(before.len() + ours.len());
    for old in before {
        if !is_ours(old, author.controller) {
            out.push(old.clone());
        } else if let Some(at) = left.iter().position(|it| it[reference] == old[reference]) {
            out.push(with_conditions(left.remove(at), Some(old), author.now));
        }
    }
    out.extend(left.into_iter().map(|it| with_conditions(it, None, author.now)));
    Value::Array(out)
}

/// The listeners are those of the spec: one that is not there any more loses its entry, whoever wrote into it.
fn listeners(before: &[Value], ours: &[Value], now: &str) -> Value {
    let merged = ours.iter().map(|it| {
        let old = before.iter().find(|old| old["name"] == it["name"]);
        with_conditions(it, old, now)
    });
    Value::Array(merged.collect())
}

fn with_conditions(entry: &Value, old: Option<&Value>, now: &str) -> Value {
    let before = old.map(|it| list(it, "conditions")).unwrap_or_default();
    let mut merged = entry.clone();
    merged["conditions"] = conditions(before, list(entry, "conditions"), now);
    merged
}

fn conditions(before: &[Value], ours: &[Value], now: &str) -> Value {
    let kind = |it: &Value| it["type"].as_str().unwrap_or_default().to_owned();
    let mut left: Vec<&Value> = ours.iter().collect();
    let mut out = Vec::with_capacity(before.len() + ours.len());
    for old in before {
        match left.iter().position(|it| it["type"] == old["type"]) {
            Some(at) => out.push(timed(left.remove(at), Some(old), now)),
            None if reason::is_ours(&kind(old)) => {}
            None => out.push(old.clone()),
        }
    }
    out.extend(left.into_iter().map(|it| timed(it, None, now)));
    Value::Array(out)
}

/// The time is that of the last change of `status`, not of the last write.
fn timed(condition: &Value, old: Option<&Value>, now: &str) -> Value {
    let since = old.filter(|old| old["status"] == condition["status"]).map(|old| &old["lastTransitionTime"]);
    let mut timed = condition.clone();
    timed["lastTransitionTime"] = since.filter(|it| it.is_string()).cloned().unwrap_or_else(|| now.into());
    timed
}

#[cfg(test)]
mod tests;
