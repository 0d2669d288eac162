//! Which objects of a kind are asked for: what the server leaves out costs nothing here and needs no trust.

use crate::resources::Kind;

/// The field selectors of a kind's lists and watches. Each selects other objects; together they are all that is asked for.
pub(super) fn fields(kind: Kind) -> &'static [Option<&'static str>] {
    match kind {
        // Certificates, and credentials of clients, whose type their owner has chosen for that; no other Secret is ever seen by this
        // process. CA bundles are in ConfigMaps. A server knows no "or" in a selector, and the type of a Secret never changes.
        Kind::Secret => &[Some("type=kubernetes.io/tls"), Some("type=fairway.dev/credentials")],
        // One stands for all of the Gateway API; the schemas of a cluster's CRDs are megabytes.
        Kind::Definition => &[Some("metadata.name=gatewayclasses.gateway.networking.k8s.io")],
        // Pods that have ended have no address and are not in the mesh.
        Kind::Pod => &[Some("status.phase!=Succeeded,status.phase!=Failed")],
        // The server's own CA, which every namespace has a copy of.
        _ if kind.as_str() == "ConfigMap" => &[Some("metadata.name!=kube-root-ca.crt")],
        _ => &[None],
    }
}
