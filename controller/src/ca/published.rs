//! The mesh's roots in a ConfigMap of the controller's namespace: for the tunnels, which have no Gateway that would bring
//! them along.

use crate::apiserver::describe;
use fairway_identity::TrustBundle;
use http::header::CONTENT_TYPE;
use kube::Client;
use pem::{EncodeConfig, LineEnding, Pem};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tracing::warn;

/// The ConfigMap's name.
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
        let manifest = roots.borrow_and_update().as_ref().map(|it| manifest(namespace, it));
        let wait = match manifest {
            None => AGAIN,
            Some(manifest) => match apply(client, namespace, &manifest).await {
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

async fn apply(client: &Client, namespace: &str, manifest: &Value) -> kube::Result<()> {
    let path = format!(
        "/api/v1/namespaces/{namespace}/configmaps/{NAME}?fieldManager=fairway-controller&force=true"
    );
    let request = http::Request::patch(path)
        .header(CONTENT_TYPE, "application/apply-patch+yaml")
        .body(manifest.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}

fn manifest(namespace: &str, roots: &TrustBundle) -> Value {
    let certificates: Vec<Pem> = roots.roots.iter().map(|it| Pem::new("CERTIFICATE", it.to_vec())).collect();
    let form = EncodeConfig::new().set_line_ending(LineEnding::LF);
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": "fairway",
                "app.kubernetes.io/managed-by": "fairway-controller",
            },
        },
        "data": { KEY: pem::encode_many_config(&certificates, form) },
    })
}
