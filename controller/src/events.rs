//! Events: what happened to an object, for whoever describes it.
//!
//! They are a courtesy: never more than a few a second, never the same twice in a while, and lost when the API server
//! does not take them.

use crate::apiserver::describe;
use crate::resources::ObjectRef;
use crate::status::{Record, reason};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

/// Events that may wait to be sent.
const QUEUE: usize = 256;

/// How many may come at once, and in which interval one more.
const BURST: u32 = 50;
const REFILL: Duration = Duration::from_millis(250);

/// How long the same is not said again.
const SAME: Duration = Duration::from_secs(300);

/// The longest note an event may have.
const LONGEST_NOTE: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Whether it is as it should be.
    pub good: bool,
    pub reason: String,
    pub note: String,
}

/// An object as events name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Regarding {
    object: ObjectRef,
    api_version: String,
    uid: Arc<str>,
}

/// Takes events; clones share the limits.
#[derive(Clone, Debug)]
pub struct Recorder {
    sender: mpsc::Sender<(Regarding, Event)>,
}

/// Lets through so much in a while, and nothing twice.
#[derive(Debug)]
struct Throttle {
    tokens: u32,
    filled: Instant,
    said: HashMap<(Regarding, Event), Instant, ahash::RandomState>,
}

// === impl Recorder ===

impl Recorder {
    /// A recorder that sends for as long as it or a clone is there. `instance` names this replica. Must be called within
    /// a tokio runtime.
    pub fn start(client: Client, instance: Arc<str>) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        tokio::spawn(send(client, instance, events));
        Self { sender }
    }

    /// Tells what happened to an object.
    pub fn publish(&self, object: &ObjectRef, record: &Record, events: Vec<Event>) {
        for event in events {
            let regarding = Regarding {
                object: object.clone(),
                api_version: record.api_resource.api_version(),
                uid: record.uid.clone(),
            };
            // A full queue has enough to tell.
            let _ = self.sender.try_send((regarding, event));
        }
    }

    /// Tells what happened to a pod.
    pub fn publish_for_pod(&self, pod: &ObjectRef, uid: Arc<str>, event: Event) {
        let regarding = Regarding { object: pod.clone(), api_version: "v1".to_owned(), uid };
        let _ = self.sender.try_send((regarding, event));
    }
}

async fn send(client: Client, instance: Arc<str>, mut events: mpsc::Receiver<(Regarding, Event)>) {
    let mut throttle = Throttle::new(Instant::now());
    while let Some(event) = events.recv().await {
        if !throttle.admits(&event, Instant::now()) {
            continue;
        }
        let (regarding, event) = event;
        if let Err(error) = post(&client, &instance, &regarding, &event).await {
            debug!(object = %regarding.object, "an event is lost: {}", describe(&error));
        }
    }
}

async fn post(client: &Client, instance: &str, regarding: &Regarding, it: &Event) -> kube::Result<()> {
    let Regarding { object, api_version, uid } = regarding;
    // Events of objects without a namespace are in `default`.
    let namespace = if object.namespace.is_empty() { "default" } else { &*object.namespace };
    // A dot, which only a name that was cut may end with, would make the whole name a wrong one.
    let prefix = format!("{}-", cut(&object.name, 200).trim_end_matches('.'));
    let body = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "generateName": prefix, "namespace": namespace },
        "eventTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        "reportingController": "fairway.dev/controller",
        "reportingInstance": instance,
        "action": "Reconcile",
        "reason": it.reason,
        "note": cut(&it.note, LONGEST_NOTE),
        "type": if it.good { "Normal" } else { "Warning" },
        "regarding": {
            "apiVersion": api_version,
            "kind": object.kind.as_str(),
            "namespace": &*object.namespace,
            "name": &*object.name,
            "uid": &**uid,
        },
    });
    let request = http::Request::post(format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}

fn cut(text: &str, longest: usize) -> &str {
    let end = (0..=longest.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

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

// === impl Throttle ===

impl Throttle {
    fn new(now: Instant) -> Self {
        Self { tokens: BURST, filled: now, said: HashMap::default() }
    }

    fn admits(&mut self, event: &(Regarding, Event), now: Instant) -> bool {
        self.said.retain(|_, at| now.duration_since(*at) < SAME);
        if self.said.contains_key(event) {
            return false;
        }
        let refills = now.duration_since(self.filled).as_millis() / REFILL.as_millis();
        let refills = u32::try_from(refills).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(refills).min(BURST);
        self.filled = if self.tokens == BURST { now } else { self.filled + REFILL * refills };
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        self.said.insert(event.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Kind;

    fn event(name: &str) -> (Regarding, Event) {
        let object = ObjectRef::new(Kind::HttpRoute, "shop", name);
        let regarding = Regarding { object, api_version: String::new(), uid: "".into() };
        (regarding, Event { good: true, reason: "Accepted".to_owned(), note: String::new() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_cut_off_and_nothing_is_said_twice() {
        let start = Instant::now();
        let mut throttle = Throttle::new(start);
        let admitted = (0..1000).filter(|it| throttle.admits(&event(&it.to_string()), start)).count();
        assert_eq!(admitted, BURST as usize);
        assert!(!throttle.admits(&event("0"), start + SAME / 2), "said already");
        assert!(throttle.admits(&event("new"), start + SAME / 2));
        assert!(throttle.admits(&event("0"), start + SAME * 2), "that was long ago");
    }

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

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 9), "añb");
    }
}
