//! Where the leader is, for the proxies: the EndpointSlice of a Service without selector.

use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use serde_json::{Value, json};
use std::net::IpAddr;

/// The Service's name, and the slice's.
pub const NAME: &str = "fairway-controller";

/// Leads the Service `fairway-controller` to this replica. The slice belongs to the Service, so that an uninstall leaves
/// nothing.
pub async fn publish(
    client: &Client,
    namespace: &str,
    pod: &str,
    address: IpAddr,
    port: u16,
) -> kube::Result<()> {
    let service = Api::<Service>::namespaced(client.clone(), namespace).get_metadata_opt(NAME).await?;
    let owner = service.and_then(|it| it.metadata.uid);
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{NAME}?fieldManager=fairway-controller&force=true"
    );
    let request = http::Request::patch(path)
        .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(slice(namespace, owner.as_deref(), pod, address, port).to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}

fn slice(namespace: &str, owner: Option<&str>, pod: &str, address: IpAddr, port: u16) -> Value {
    let owners: Vec<Value> = owner
        .map(|uid| json!({ "apiVersion": "v1", "kind": "Service", "name": NAME, "uid": uid }))
        .into_iter()
        .collect();
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

    #[test]
    fn the_slice_goes_with_its_service() {
        let made = |owner| {
            slice("fairway-system", owner, "fairway-controller-1", IpAddr::from([10, 0, 0, 7]), 15010)
        };
        let owner =
            json!({ "apiVersion": "v1", "kind": "Service", "name": "fairway-controller", "uid": "u-1" });
        assert_eq!(made(Some("u-1"))["metadata"]["ownerReferences"], json!([owner]));
        assert_eq!(made(None)["metadata"]["ownerReferences"], json!([]));
    }
}
