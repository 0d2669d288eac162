//! The mesh's roots in a ConfigMap of the controller's namespace: for the tunnels, which have no Gateway that would bring
//! them along.

use crate::apiserver::{self, describe};
use crate::leader;
use crate::provision::metadata::MANAGER;
use fairway_identity::TrustBundle;
use kube::Client;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tracing::warn;

/// The ConfigMap with the roots, in the namespace of the controller.
const NAME: &str = "fairway-roots";
/// The key of the roots in it.
const KEY: &str = "ca.crt";
/// How long before it is looked at again: somebody may have edited it, or removed it.
const AGAIN: Duration = Duration::from_secs(60);
/// The same after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Keeps the ConfigMap as the roots are, until nobody says any more how they are.
pub(crate) async fn publish(
    client: &Client,
    namespace: &str,
    mut roots: watch::Receiver<Option<TrustBundle>>,
) {
    loop {
        let known = roots.borrow_and_update().clone();
        let wait = match known {
            None => AGAIN,
            Some(known) => match apply(client, namespace, &known).await {
                Ok(()) => AGAIN,
                Err(error) => {
                    warn!("the ConfigMap {namespace}/{NAME} cannot be written: {}", describe(&error));
                    AFTER_FAILURE
                }
            },
        };
        tokio::select! {
            changed = roots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn apply(client: &Client, namespace: &str, roots: &TrustBundle) -> kube::Result<()> {
    let owners = leader::owners(client, namespace).await?;
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/{NAME}");
    apiserver::apply(client, &path, MANAGER, &manifest(namespace, owners, roots)).await
}

fn manifest(namespace: &str, owners: Vec<Value>, roots: &TrustBundle) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "ownerReferences": owners,
            "labels": {
                "app.kubernetes.io/name": "fairway",
                "app.kubernetes.io/managed-by": "fairway-controller",
            },
        },
        "data": { KEY: roots.to_pem() },
    })
}
