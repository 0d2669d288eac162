//! Where the leader is, for the proxies: the EndpointSlice of a Service without selector.

use crate::apiserver::{self, describe};
use crate::provision::metadata::MANAGER;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;
use tracing::{info, warn};

/// How long before the slice is applied again: somebody may have edited it or removed it, or a leader before this one has written
/// it late.
const AGAIN: Duration = Duration::from_secs(30);
/// How long to wait after a failure: at first, and at last.
const AFTER_FAILURE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The Service's name, and the slice's.
pub const NAME: &str = "fairway-controller";

/// Leads the Service `fairway-controller` to this replica, for as long as this runs.
pub(crate) async fn keep_published(client: &Client, namespace: &str, pod: &str, address: IpAddr, port: u16) {
    let (mut pause, mut told) = (AFTER_FAILURE.0, false);
    loop {
        match publish(client, namespace, pod, address, port).await {
            Ok(()) => {
                if !told {
                    info!(%address, port, "proxies connect to this controller from now on");
                }
                (pause, told) = (AFTER_FAILURE.0, true);
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => {
                warn!("proxies cannot be told where the leader is, it is tried again: {}", describe(&error));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(AFTER_FAILURE.1);
            }
        }
    }
}

/// Leads the Service `fairway-controller` to this replica.
async fn publish(
    client: &Client,
    namespace: &str,
    pod: &str,
    address: IpAddr,
    port: u16,
) -> kube::Result<()> {
    let owners = owners(client, namespace).await?;
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{NAME}");
    apiserver::apply(client, &path, MANAGER, &slice(namespace, owners, pod, address, port)).await
}

/// The `ownerReferences` of what the leader writes beside the Service: it goes with that, so that an uninstall leaves nothing.
pub(crate) async fn owners(client: &Client, namespace: &str) -> kube::Result<Vec<Value>> {
    let service = Api::<Service>::namespaced(client.clone(), namespace).get_metadata_opt(NAME).await?;
    let owner = |uid| json!({ "apiVersion": "v1", "kind": "Service", "name": NAME, "uid": uid });
    Ok(service.and_then(|it| it.metadata.uid).map(owner).into_iter().collect())
}

fn slice(namespace: &str, owners: Vec<Value>, pod: &str, address: IpAddr, port: u16) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": NAME,
                // Else the cluster's own controllers may take it for theirs.
                "endpointslice.kubernetes.io/managed-by": "fairway.dev",
                "app.kubernetes.io/name": "fairway",
                "app.kubernetes.io/managed-by": "fairway-controller",
            },
            "ownerReferences": owners,
        },
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{
            "addresses": [address],
            "conditions": { "ready": true },
            "targetRef": { "kind": "Pod", "name": pod, "namespace": namespace },
        }],
        "ports": [{ "name": "grpc", "port": port, "protocol": "TCP" }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::testing::{client, failure, whole};
    use http::{Method, StatusCode};
    use std::sync::{Arc, Mutex};

    /// What is applied where the Service has this uid, or is not there.
    async fn applied(uid: Option<&'static str>) -> Value {
        let body = Arc::new(Mutex::new(Value::Null));
        let seen = body.clone();
        let server = client(move |request, body| {
            let seen = seen.clone();
            async move {
                if request.method == Method::PATCH {
                    *seen.lock().unwrap() = serde_json::from_slice(&body)?;
                    return Ok(whole(StatusCode::OK, &json!({})));
                }
                Ok(match uid {
                    Some(uid) => whole(StatusCode::OK, &json!({ "metadata": { "uid": uid } })),
                    None => failure(404, "there is none"),
                })
            }
        });
        publish(&server, "fairway-system", "fairway-controller-1", IpAddr::from([10, 0, 0, 7]), 15010)
            .await
            .unwrap();
        body.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn the_slice_goes_with_its_service() {
        let owner =
            json!({ "apiVersion": "v1", "kind": "Service", "name": "fairway-controller", "uid": "u-1" });
        assert_eq!(applied(Some("u-1")).await["metadata"]["ownerReferences"], json!([owner]));
        let alone = applied(None).await;
        assert_eq!(alone["metadata"]["ownerReferences"], json!([]));
        assert_eq!(alone["endpoints"][0]["addresses"], json!(["10.0.0.7"]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_do_to_the_slice_is_undone_while_this_replica_leads() {
        // The uid of the Service, and the slice. Without a uid the API server is away.
        let state = Arc::new(Mutex::new((Some("u-1"), Value::Null)));
        let answering = state.clone();
        let server = client(move |request, body| {
            let state = answering.clone();
            async move {
                let mut state = state.lock().unwrap();
                let Some(uid) = state.0 else { return Err("connection refused".into()) };
                if request.method == Method::PATCH {
                    state.1 = serde_json::from_slice(&body)?;
                }
                Ok(whole(StatusCode::OK, &json!({ "metadata": { "uid": uid } })))
            }
        });
        let keeping = tokio::spawn(async move {
            keep_published(&server, "fairway-system", "fairway-controller-1", [10, 0, 0, 7].into(), 15010)
                .await;
        });
        let points_here = |uid: &str| {
            let slice = &state.lock().unwrap().1;
            slice["endpoints"][0]["addresses"] == json!(["10.0.0.7"])
                && slice["metadata"]["ownerReferences"][0]["uid"] == uid
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(points_here("u-1"));
        let elsewhere = slice("fairway-system", Vec::new(), "another", [10, 0, 0, 8].into(), 15010);
        for (uid, left) in [("u-1", Value::Null), ("u-1", elsewhere), ("u-2", Value::Null)] {
            *state.lock().unwrap() = (Some(uid), left);
            tokio::time::sleep(Duration::from_secs(31)).await;
            assert!(points_here(uid), "{uid}");
        }
        *state.lock().unwrap() = (None, Value::Null);
        tokio::time::sleep(Duration::from_secs(120)).await;
        state.lock().unwrap().0 = Some("u-2");
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert!(points_here("u-2"));
        keeping.abort();
    }
}
