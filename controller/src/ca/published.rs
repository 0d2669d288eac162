//! The mesh's roots in a ConfigMap of the controller's namespace: for the tunnels, which have no Gateway that would bring
//! them along.

use crate::apiserver::describe;
use fairway_identity::TrustBundle;
use http::header::CONTENT_TYPE;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use pem::{EncodeConfig, LineEnding, Pem};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tracing::warn;

/// The Service of the controller, with which it goes.
const SERVICE: &str = "fairway-controller";
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
    let service = Api::<Service>::namespaced(client.clone(), namespace).get_metadata_opt(SERVICE).await?;
    let owner = service.and_then(|it| it.metadata.uid);
    let manifest = manifest(namespace, owner.as_deref(), roots);
    let path = format!(
        "/api/v1/namespaces/{namespace}/configmaps/{NAME}?fieldManager=fairway-controller&force=true"
    );
    let request = http::Request::patch(path)
        .header(CONTENT_TYPE, "application/apply-patch+yaml")
        .body(manifest.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}

fn manifest(namespace: &str, owner_uid: Option<&str>, roots: &TrustBundle) -> Value {
    let owner = |uid| json!({ "apiVersion": "v1", "kind": "Service", "name": SERVICE, "uid": uid });
    let owners: Vec<Value> = owner_uid.map(owner).into_iter().collect();
    let certificates: Vec<Pem> = roots.roots.iter().map(|it| Pem::new("CERTIFICATE", it.to_vec())).collect();
    let form = EncodeConfig::new().set_line_ending(LineEnding::LF);
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
        "data": { KEY: pem::encode_many_config(&certificates, form) },
    })
}
