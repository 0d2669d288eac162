//! Carries out one step against the API server.

use super::live::{FIELD_MANAGER, Live};
use super::manifest::{Manifest, ManifestKey, ManifestKind};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::Status;
use kube::{Client, Error};
use serde_json::{Value, json};
use std::sync::Arc;

/// Who says how many pods run from when an autoscaler is asked for till it first says so itself.
const SCALE_MANAGER: &str = "fairway.dev/scale";

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// The name is taken.
    #[error("there is a {0} that Fairway did not make; rename it or the Gateway, or delete it")]
    Taken(ManifestKey),
    /// The API server refuses, or cannot be reached.
    #[error("cannot {what} {key}: {}{}", said(.why), remedy(.why))]
    Refused {
        what: &'static str,
        key: ManifestKey,
        /// What the server said.
        why: Box<Error>,
    },
    /// The namespace is on its way out, and this with it.
    #[error("{0} cannot be made: its namespace is being deleted")]
    Ending(ManifestKey),
    /// The API server's answer is not an object.
    #[error("the API server's answer for {0} is not an object")]
    Unread(ManifestKey),
}

/// Makes an object what it is to be; gives back what became of it. `over` is what is known to be there.
pub(super) async fn apply(
    client: &Client,
    manifest: &Manifest,
    over: Option<&Live>,
) -> Result<Live, StepError> {
    let api = api(client, &manifest.key);
    let key = &manifest.key;
    let found = match over {
        Some(live) => Some(live.clone()),
        None => {
            let found = api.get_opt(&key.name).await.map_err(refused("look for", key))?;
            found.map(|it| read(key, it)).transpose()?
        }
    };
    if found.as_ref().is_some_and(|it| it.gateway.as_ref() != Some(&manifest.gateway)) {
        return Err(StepError::Taken(key.clone()));
    }
    if let Some(live) = found.as_ref().filter(|live| gives_up_replicas(manifest, live)) {
        hand_over_replicas(&api, manifest, live).await.map_err(refused("hand the replicas over of", key))?;
    }
    let mut fields = manifest.fields.clone();
    let parameters = match &found {
        Some(live) => {
            // Ours, and no other of this name that somebody made meanwhile.
            fields["metadata"]["uid"] = json!(&*live.uid);
            PatchParams::apply(FIELD_MANAGER).force()
        }
        // Not by force: whoever made one of this name a moment ago keeps it.
        None => PatchParams::apply(FIELD_MANAGER),
    };
    let answer = api.patch(&key.name, &parameters, &Patch::Apply(&fields)).await;
    let answer = answer.map_err(|error| match (&error, &found) {
        (Error::Api(status), None) if status.code == 409 => StepError::Taken(key.clone()),
        (Error::Api(status), _) if is_ending(status) => StepError::Ending(key.clone()),
        _ => refused("apply", key)(error),
    })?;
    read(key, answer)
}

/// Takes an object away, if it is still that one.
pub(super) async fn delete(client: &Client, key: &ManifestKey, uid: &Arc<str>) -> Result<(), StepError> {
    let parameters = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_string()), resource_version: None }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match api(client, key).delete(&key.name, &parameters).await {
        Ok(_) => Ok(()),
        // Gone, or another one has the name by now.
        Err(Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(refused("delete", key)(error)),
    }
}

fn api(client: &Client, key: &ManifestKey) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), &key.namespace, &key.kind.api_resource())
}

fn read(key: &ManifestKey, object: DynamicObject) -> Result<Live, StepError> {
    let object = serde_json::to_value(object).unwrap_or_default();
    Live::read(key.kind, object).map(|(_, live)| live).ok_or_else(|| StepError::Unread(key.clone()))
}

/// With server-side apply a field that its only owner does not name any more goes back to its default, which for
/// replicas is 1: a proxy under load would shrink to one pod until its new autoscaler looks at it.
fn gives_up_replicas(manifest: &Manifest, live: &Live) -> bool {
    manifest.key.kind == ManifestKind::Deployment
        && manifest.fields["spec"]["replicas"].is_null()
        && live.only_we_say_replicas
}

async fn hand_over_replicas(api: &Api<DynamicObject>, manifest: &Manifest, live: &Live) -> Result<(), Error> {
    let name = &*manifest.key.name;
    let replicas: &Value = &live.fields["spec"]["replicas"];
    let patch = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "uid": &*live.uid},
        "spec": {"replicas": replicas},
    });
    api.patch(name, &PatchParams::apply(SCALE_MANAGER), &Patch::Apply(&patch)).await.map(drop)
}

fn refused(what: &'static str, key: &ManifestKey) -> impl FnOnce(Error) -> StepError {
    let key = key.clone();
    move |why| StepError::Refused { what, key, why: Box::new(why) }
}

/// Whether the API server refuses because the namespace is being deleted.
fn is_ending(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|it| &it.causes);
    status.code == 403 && causes.into_iter().any(|it| it.reason == "NamespaceTerminating")
}

fn said(error: &Error) -> String {
    match error {
        Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

fn remedy(error: &Error) -> &'static str {
    match error {
        Error::Api(status) if status.code == 403 => "; give the controller's ClusterRole this right",
        Error::Api(status) if status.code == 422 => {
            "; correct the GatewayParameters, or delete the object if a field cannot change"
        }
        _ => "",
    }
}
