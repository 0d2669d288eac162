//! Writes it on the pods.

use super::Reports;
use super::plan::{CaptureReason, Change, Mark, Pods, Written, event, plan};
use crate::admission::AuthorizationIndex;
use crate::apiserver::{self, describe};
use crate::events::{Event, Recorder, Regarding};
use crate::resources::{Kind, ObjectRef};
use crate::status::reason;
use fairway_config::model::ObjectName;
use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{debug, warn};

/// The label; the condition's type is [`reason::CAPTURED`].
const LABEL: &str = "fairway.dev/captured";
const MANAGER: &str = "fairway-capture";
/// Writes under way at once.
const AT_ONCE: usize = 8;
/// The pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(2);
/// Pods that are gone are forgotten at least so often.
const SWEEP: Duration = Duration::from_secs(60);

/// Writes what the tunnels say, for as long as this replica leads.
pub(crate) async fn write(
    client: &Client,
    mut reports: watch::Receiver<Reports>,
    authorization_index: &AuthorizationIndex,
    events: &Recorder,
) {
    let mut pods = loop {
        match labelled(client).await {
            Ok(pods) => break pods,
            Err(error) => warn!("which pods are labelled {LABEL} is not known: {}", describe(&error)),
        }
        tokio::time::sleep(AFTER_FAILURE).await;
    };
    let mut repairs = HashMap::new();
    loop {
        let now = reports.borrow_and_update().clone();
        tell_repairs(&now, &mut repairs, events);
        let (changes, gone) = plan(&now, &pods, |uid| authorization_index.node_of(uid));
        for uid in gone {
            pods.remove(&uid);
        }
        let written = Timestamp::now();
        let writes =
            stream::iter(changes).map(|change| async { (apply(client, &change, written).await, change) });
        let outcomes: Vec<_> = writes.buffer_unordered(AT_ONCE).collect().await;
        let mut wait = SWEEP;
        for (outcome, change) in outcomes {
            match outcome {
                Ok(()) => tell(&change, events),
                // The pod is gone, or another has its name.
                Err(kube::Error::Api(status)) if [404, 409, 422].contains(&status.code) => {
                    debug!(pod = %change.pod, "not written: {}", status.message);
                }
                Err(error) => {
                    warn!(pod = %change.pod, "whether it is captured cannot be written: {}", describe(&error));
                    wait = AFTER_FAILURE;
                    continue;
                }
            }
            let Change { uid, pod, mark, since } = change;
            match mark {
                Some(mark) => {
                    let since = since.unwrap_or(written);
                    drop(pods.insert(uid, (pod, Written::Mark { mark, since })));
                }
                None => drop(pods.remove(&uid)),
            }
        }
        tokio::select! {
            changed = reports.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The pods that a leader before this one has written on, with what it wrote. A page at a time: of a pod hardly anything is kept.
async fn labelled(client: &Client) -> kube::Result<Pods> {
    const PAGE: u32 = 250;
    let all = Api::<Pod>::all(client.clone());
    let mut asked = ListParams::default().labels(LABEL).limit(PAGE);
    let mut pods = Pods::default();
    loop {
        let page = all.list(&asked).await?;
        pods.extend(page.items.into_iter().filter_map(found));
        match page.metadata.continue_.filter(|it| !it.is_empty()) {
            Some(next) => asked = asked.continue_token(&next),
            None => return Ok(pods),
        }
    }
}

/// What is written on a pod.
fn found(pod: Pod) -> Option<(Arc<str>, (ObjectName, Written))> {
    let metadata = pod.metadata;
    let captured = metadata.labels?.get(LABEL)? == "true";
    let name = ObjectName::new(metadata.namespace?, metadata.name?);
    let conditions = pod.status.and_then(|it| it.conditions).unwrap_or_default();
    let condition = conditions.into_iter().find(|it| it.type_ == reason::CAPTURED);
    let mark = condition.and_then(|condition| {
        let reason = CaptureReason::parse(&condition.reason?)?;
        let since = condition.last_transition_time?.0;
        Some(Written::Mark { mark: Mark { reason, message: condition.message.unwrap_or_default() }, since })
    });
    // One whose label and condition do not agree is written again.
    let agrees = |it: &Written| matches!(it, Written::Mark { mark, .. } if mark.is_captured() == captured);
    let written = mark.filter(agrees).unwrap_or(Written::Unclear);
    Some((metadata.uid?.into(), (name, written)))
}

async fn apply(client: &Client, change: &Change, now: Timestamp) -> kube::Result<()> {
    let ObjectName { namespace, name } = &change.pod;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/status");
    apiserver::apply(client, &path, MANAGER, &manifest(change, now)).await
}

/// What is left out of an apply is taken away.
fn manifest(Change { uid, pod, mark, since }: &Change, now: Timestamp) -> Value {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        // With the uid another pod of this name is none of ours.
        "metadata": { "name": &*pod.name, "namespace": &*pod.namespace, "uid": &**uid },
    });
    if let Some(mark) = mark {
        let captured = mark.is_captured();
        object["metadata"]["labels"] = json!({ LABEL: captured.to_string() });
        object["status"] = json!({
            "conditions": [{
                "type": reason::CAPTURED,
                "status": if captured { "True" } else { "False" },
                "reason": mark.reason.word(),
                "message": mark.message,
                "lastTransitionTime": since.unwrap_or(now).strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            }],
        });
    }
    object
}

fn tell(change: &Change, events: &Recorder) {
    if let Some(event) = change.mark.as_ref().and_then(event) {
        let pod = ObjectRef::from_name(Kind::Pod, &change.pod);
        events.publish(&Regarding::pod(&pod, change.uid.clone()), vec![event]);
    }
}

/// Rules that somebody had changed and that were put back since the last report.
fn tell_repairs(reports: &Reports, told: &mut HashMap<Arc<str>, u64>, events: &Recorder) {
    let mut now = HashMap::new();
    for it in reports.values().flat_map(|pods| pods.iter()) {
        let uid: Arc<str> = it.uid.as_str().into();
        let before = told.get(&uid).copied();
        // A tunnel that has just started counts from zero.
        if it.repairs > before.unwrap_or(0)
            && let Some((namespace, name)) = it.pod.split_once('/')
        {
            let pod = ObjectRef::new(Kind::Pod, namespace, name);
            events.publish(&Regarding::pod(&pod, uid.clone()), vec![repaired()]);
        }
        now.insert(uid, it.repairs);
    }
    *told = now;
}

/// That the rules of a pod were changed and put back.
pub(super) fn repaired() -> Event {
    let note = "somebody changed the rules that capture the pod; its node's tunnel has put them back";
    Event { good: false, reason: "CaptureRepaired".to_owned(), note: note.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_label_and_a_condition_and_taken_away_by_leaving_them_out() {
        let mark = Mark { reason: CaptureReason::Captured, message: "it is".to_owned() };
        let pod = ObjectName::new("shop", "a");
        let mut change = Change { uid: "uid-a".into(), pod, mark: Some(mark), since: None };
        let now = Timestamp::from_second(1_767_225_600).unwrap();
        assert_eq!(
            manifest(&change, now),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": "a", "namespace": "shop", "uid": "uid-a", "labels": { "fairway.dev/captured": "true" } },
                "status": { "conditions": [{
                    "type": "fairway.dev/Captured", "status": "True", "reason": "Captured", "message": "it is",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }] },
            })
        );
        // A leader that comes after reads what was written.
        let written: Pod = serde_json::from_value(manifest(&change, now)).unwrap();
        let (uid, (name, written)) = found(written).unwrap();
        assert_eq!((&*uid, &name), ("uid-a", &change.pod));
        assert_eq!(written, Written::Mark { mark: change.mark.clone().unwrap(), since: now });
        change.mark = None;
        assert_eq!(
            manifest(&change, now)["metadata"],
            json!({ "name": "a", "namespace": "shop", "uid": "uid-a" })
        );
        assert_eq!(manifest(&change, now).get("status"), None);
    }
}
