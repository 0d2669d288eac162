//! Events: what happened to an object, for whoever describes it.
//!
//! They are a courtesy: never more than a few a second, never the same twice in a while, and lost when the API server
//! does not take them.

use crate::apiserver::describe;
use crate::resources::ObjectRef;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::json;
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
pub struct Regarding {
    pub object: ObjectRef,
    /// Its group and version, as manifests have them.
    pub api_version: String,
    pub uid: Arc<str>,
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

// === impl Event ===

impl Event {
    /// A status has no room for so many entries of ours.
    pub fn of_full_status(lost: usize) -> Self {
        let note = format!(
            "the status has no room for {lost} parents or ancestors; what is decided for them holds, and is not in the status. \
             `fairway check` names the first"
        );
        Self { good: false, reason: "StatusFull".to_owned(), note }
    }
}

// === impl Regarding ===

impl Regarding {
    /// A pod, which has no status of ours.
    pub fn pod(pod: &ObjectRef, uid: Arc<str>) -> Self {
        Self { object: pod.clone(), api_version: "v1".to_owned(), uid }
    }
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
    pub fn publish(&self, regarding: &Regarding, events: Vec<Event>) {
        for event in events {
            // A full queue has enough to tell.
            let _ = self.sender.try_send((regarding.clone(), event));
        }
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
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 9), "añb");
    }
}
