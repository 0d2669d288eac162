//! What has to be written so that an object's status says what is true, and what others wrote stays.
//!
//! Ours are: of a list of parents or ancestors the entries with our controllerName, and of conditions those of the
//! types we are responsible for. Everything else is kept as it is, and so is what we wrote of a parent or an ancestor that cannot
//! be read now.
//!
//! A list longer than the API allows would be refused with the whole status. So what others wrote stays, and of ours there is as
//! much as has room, from the beginning of the list.

use super::reason;
use super::render::append;
use serde_json::{Map, Value};

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    pub controller: &'a str,
    /// The time of transitions that happen now, as RFC 3339 has it.
    pub now: &'a str,
    /// Which types of conditions of this object are ours to write and to take away.
    pub owns: fn(&str) -> bool,
    /// References to parents or ancestors that cannot be read: what we wrote of them stays as it is.
    pub held: &'a [Value],
}

/// The lists of entries that belong to controllers: how an entry names its object, and the most entries there may be.
const ENTRIES: [(&str, &str, usize); 2] = [("parents", "parentRef", 32), ("ancestors", "ancestorRef", 16)];
/// The most conditions of an object, or of an entry of its status.
const MOST_CONDITIONS: usize = 8;
/// The most addresses of a Gateway.
const MOST_ADDRESSES: usize = 16;

/// The fields of `status` to write, for a JSON merge patch; none when it already says what is true. `ours` is none for an
/// object that is no concern of ours (any more): then only our entries are taken out.
pub fn merge(current: &Value, ours: Option<&Value>, author: Author<'_>) -> Option<Value> {
    let merged = match ours {
        Some(ours) => whole(current, ours, author),
        None => without_ours(current, author),
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
        let merged = match (field.as_str(), ENTRIES.iter().find(|(name, ..)| name == field)) {
            ("conditions", _) => conditions(before, list(ours, field), author),
            ("listeners", _) => listeners(before, list(ours, field), author),
            ("addresses", _) => list(ours, field).iter().take(MOST_ADDRESSES).cloned().collect(),
            (_, Some((_, reference, most))) => entries(before, list(ours, field), reference, *most, author),
            _ => value.clone(),
        };
        (field.clone(), merged)
    });
    merged.collect()
}

fn without_ours(current: &Value, author: Author<'_>) -> Map<String, Value> {
    let foreign = |field: &str, reference: &str| {
        let before = list(current, field);
        let kept: Vec<Value> = before.iter().filter(|it| !author.writes(it, reference)).cloned().collect();
        (kept.len() < before.len()).then_some((field.to_owned(), Value::Array(kept)))
    };
    let mut out: Map<String, Value> =
        ENTRIES.iter().filter_map(|(field, reference, _)| foreign(field, reference)).collect();
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

// === impl Author ===

impl Author<'_> {
    /// Whether an entry of a list is ours to write and to take away.
    fn writes(&self, entry: &Value, reference: &str) -> bool {
        entry["controllerName"] == self.controller && !self.held.contains(&entry[reference])
    }
}

/// Takes from our entries what has no room beside those of others, and says so in the last one that has. Returns how many of ours are
/// not in the status, with the `left_out` that were not even among these.
pub fn fit(current: &Value, ours: &mut Value, left_out: usize, author: Author<'_>) -> usize {
    let mut lost = left_out;
    for (field, reference, most) in ENTRIES {
        let foreign = list(current, field).iter().filter(|it| !author.writes(it, reference)).count();
        let Some(Value::Array(entries)) = ours.get_mut(field) else { continue };
        let room = most.saturating_sub(foreign);
        lost += entries.len().saturating_sub(room);
        entries.truncate(room);
        let last = entries.last_mut().filter(|_| lost > 0);
        let message = last.and_then(|it| it.pointer_mut("/conditions/0/message"));
        if let Some(Value::String(message)) = message {
            append(message, &format!("; the status has no room for {lost} more {field}"));
        }
    }
    lost
}

/// Entries stay where they are; new ones come last.
fn entries(before: &[Value], ours: &[Value], reference: &str, most: usize, author: Author<'_>) -> Value {
    let foreign = before.iter().filter(|it| !author.writes(it, reference)).count();
    let mut left: Vec<&Value> = ours.iter().take(most.saturating_sub(foreign)).collect();
    let mut out = Vec::with_capacity(before.len() + ours.len());
    for old in before {
        if !author.writes(old, reference) {
            out.push(old.clone());
        } else if let Some(at) = left.iter().position(|it| it[reference] == old[reference]) {
            out.push(with_conditions(left.remove(at), Some(old), author));
        }
    }
    out.extend(left.into_iter().map(|it| with_conditions(it, None, author)));
    Value::Array(out)
}

/// The listeners are those of the spec: one that is not there any more loses its entry, whoever wrote into it.
fn listeners(before: &[Value], ours: &[Value], author: Author<'_>) -> Value {
    let merged = ours.iter().map(|it| {
        let old = before.iter().find(|old| old["name"] == it["name"]);
        with_conditions(it, old, author)
    });
    Value::Array(merged.collect())
}

fn with_conditions(entry: &Value, old: Option<&Value>, author: Author<'_>) -> Value {
    let before = old.map(|it| list(it, "conditions")).unwrap_or_default();
    let mut merged = entry.clone();
    merged["conditions"] = conditions(before, list(entry, "conditions"), author);
    merged
}

fn conditions(before: &[Value], ours: &[Value], author: Author<'_>) -> Value {
    let is_ours = |old: &Value| {
        (author.owns)(old["type"].as_str().unwrap_or_default())
            || ours.iter().any(|it| it["type"] == old["type"])
    };
    let foreign = before.iter().filter(|it| !is_ours(it)).count();
    let mut left: Vec<&Value> = ours.iter().take(MOST_CONDITIONS.saturating_sub(foreign)).collect();
    let mut out = Vec::with_capacity(before.len() + ours.len());
    for old in before {
        match left.iter().position(|it| it["type"] == old["type"]) {
            Some(at) => out.push(timed(left.remove(at), Some(old), author.now)),
            None if is_ours(old) => {}
            None => out.push(old.clone()),
        }
    }
    out.extend(left.into_iter().map(|it| timed(it, None, author.now)));
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
