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

/// Takes what tunnels say of the pods of their own node, and of no others.
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
        self.authorization_index.node_of(&pod.uid).as_deref() == Some(node)
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
