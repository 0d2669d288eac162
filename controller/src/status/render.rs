//! A status as the API has it in JSON.

use super::{ObjectStatus, ParentRef};
use serde_json::{Value, json};

/// The longest message a condition may have (metav1.Condition).
const LONGEST_MESSAGE: usize = 32_768;

/// A status as the API has it in JSON, but for the times of its conditions.
pub fn render(status: &ObjectStatus) -> Value {
    // A status is maps with keys of text, which cannot fail.
    let mut out = serde_json::to_value(status).unwrap_or_default();
    wrap_texts(&mut out, "supportedFeatures", |it| json!({ "name": it }));
    for listener in list_mut(&mut out, "listeners") {
        let kind = |it| json!({ "group": fairway_gateway_api::GROUP, "kind": it });
        wrap_texts(listener, "supportedKinds", kind);
    }
    conditions(&mut out, &mut |condition| {
        if let Some(Value::String(message)) = condition.get_mut("message") {
            truncate(message);
        }
    });
    out
}

/// References as the entries of a status have them.
pub fn references(written: &[ParentRef]) -> impl Iterator<Item = Value> {
    written.iter().map(|it| serde_json::to_value(it).unwrap_or_default())
}

/// A list in a status; empty where there is none.
pub(super) fn list_mut<'a>(status: &'a mut Value, field: &str) -> &'a mut [Value] {
    status.get_mut(field).and_then(Value::as_array_mut).map(Vec::as_mut_slice).unwrap_or_default()
}

/// Visits every condition of a status, wherever it is.
pub(super) fn conditions(status: &mut Value, visit: &mut impl FnMut(&mut Value)) {
    list_mut(status, "conditions").iter_mut().for_each(&mut *visit);
    for part in ["listeners", "parents", "ancestors"] {
        for it in list_mut(status, part) {
            list_mut(it, "conditions").iter_mut().for_each(&mut *visit);
        }
    }
}

/// Makes objects of the texts in a list.
fn wrap_texts(status: &mut Value, field: &str, wrap: fn(Value) -> Value) {
    for it in list_mut(status, field).iter_mut().filter(|it| it.is_string()) {
        *it = wrap(it.take());
    }
}

/// Adds to the message of a condition, whose own text is cut where both are too long.
pub(super) fn append(message: &mut String, text: &str) {
    truncate_to(message, LONGEST_MESSAGE.saturating_sub(text.len()));
    message.push_str(text);
}

fn truncate(message: &mut String) {
    truncate_to(message, LONGEST_MESSAGE);
}

fn truncate_to(message: &mut String, most: usize) {
    if message.len() > most {
        let end = (0..most.saturating_sub(3)).rev().find(|at| message.is_char_boundary(*at));
        message.truncate(end.unwrap_or_default());
        message.push('…');
    }
}
