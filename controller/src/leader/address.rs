//! Where the leader is, for the proxies: the EndpointSlice of a Service without selector.

use kube::Client;
use serde_json::{Value, json};
use std::net::IpAddr;

/// The Service's name, and the slice's.
pub const NAME: &str = "fairway-controller";

/// Leads the Service `fairway-controller` to this replica.
pub async fn publish(
    client: &Client,
    namespace: &str,
    pod: &str,
    address: IpAddr,
    port: u16,
) -> kube::Result<()> {
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{NAME}?fieldManager=fairway-controller&force=true"
    );
    let request = http::Request::patch(path)
        .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(slice(namespace, pod, address, port).to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}

fn slice(namespace: &str, pod: &str, address: IpAddr, port: u16) -> Value {
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
