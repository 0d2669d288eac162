//! Where the tunnels report.

use super::Reports;
use crate::admission::AuthorizationIndex;
use crate::serve::{Admission, Peer};
use fairway_config::capture::capture_server::{Capture, CaptureServer};
use fairway_config::capture::{CaptureReport, CaptureReportAnswer, PodCapture};
use fairway_config::stream::{Proxy, Subscription};
use std::sync::Arc;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// Takes what tunnels say of the pods of their own node, by the names that these have, and of no others: with the name go Events.
pub(crate) struct CaptureService<A> {
    reports: Arc<watch::Sender<Reports>>,
    authorization_index: Arc<AuthorizationIndex>,
    admission: A,
}

// === impl CaptureService ===

impl<A: Admission> CaptureService<A> {
    /// A gRPC service. Whoever may have a node's configuration may report for it.
    pub(crate) fn server(
        reports: Arc<watch::Sender<Reports>>,
        authorization_index: Arc<AuthorizationIndex>,
        admission: A,
    ) -> CaptureServer<Self> {
        CaptureServer::new(Self { reports, authorization_index, admission })
    }

    fn is_on(&self, node: &str, pod: &PodCapture) -> bool {
        self.authorization_index.is_pod_of(&pod.uid, &pod.pod, node)
    }
}

#[tonic::async_trait]
impl<A: Admission> Capture for CaptureService<A> {
    async fn report(&self, request: Request<CaptureReport>) -> Result<Response<CaptureReportAnswer>, Status> {
        let (metadata, extensions, CaptureReport { node, pods }) = request.into_parts();
        let node: Arc<str> = node.into();
        let asked = Subscription::new(Proxy::Node(node.clone()), "");
        let peer = Peer { extensions: &extensions, metadata: &metadata };
        self.admission
            .admit(peer, &asked)
            .map_err(|refused| Status::permission_denied(refused.to_string()))?;
        let pods = pods.into_iter().filter(|it| self.is_on(&node, it)).collect();
        self.reports.send_modify(|reports| {
            // Nodes go as others come.
            if !reports.contains_key(&node) {
                reports.retain(|node, pods| pods.iter().any(|pod| self.is_on(node, pod)));
            }
            reports.insert(node, pods);
        });
        Ok(Response::new(CaptureReportAnswer {}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Output;
    use crate::serve::Trusted;
    use fairway_config::model::{Mesh, MutualTls, Resource, Workload};

    fn workload(name: &str, node: &str) -> Resource {
        Resource::Workload(Arc::new(Workload {
            key: format!("shop/{name}").into(),
            uid: format!("uid-{name}").into(),
            addresses: Vec::new(),
            identity: "spiffe://cluster.local/ns/shop/sa/a".parse().unwrap(),
            node: node.into(),
            node_uid: None,
            mesh: Mesh::Captured(MutualTls::Permissive),
            aside: None,
            probes: Vec::new(),
            authorizations: Vec::new(),
        }))
    }

    #[tokio::test]
    async fn a_node_speaks_of_its_own_pods_and_by_their_names() {
        let authorization_index = Arc::new(AuthorizationIndex::default());
        let upserts = vec![workload("web", "n1"), workload("db", "n2")];
        authorization_index.take(&Output { upserts, ..Output::default() });
        let (reports, seen) = super::super::reports();
        let service = CaptureService { reports, authorization_index, admission: Trusted };
        let pods = [
            ("uid-web", "shop/web"),
            // Another node's.
            ("uid-db", "shop/db"),
            // Its own, under the name of another: Events would go there.
            ("uid-web", "shop/db"),
            ("uid-web", "kube-system/coredns"),
            ("uid-web", "web"),
            ("uid-unknown", "shop/web"),
        ];
        let pods =
            pods.map(|(uid, pod)| PodCapture { uid: uid.into(), pod: pod.into(), ..PodCapture::default() });
        let report = CaptureReport { node: "n1".to_owned(), pods: pods.into() };
        service.report(Request::new(report)).await.unwrap();
        let taken: Vec<_> = seen.borrow()["n1"].iter().map(|it| (it.uid.clone(), it.pod.clone())).collect();
        assert_eq!(taken, [("uid-web".to_owned(), "shop/web".to_owned())]);
    }
}
