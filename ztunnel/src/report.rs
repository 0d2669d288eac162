//! Reports to the controller: which pods of this node are captured, and why others are not.

use crate::decide::Index;
use crate::ownership::Ownership;
use crate::pod_status::{FenceStatus, PodState, PodStatus};
use crate::view::View;
use fairway_config::capture::capture_client::CaptureClient;
use fairway_config::capture::{CaptureReport, CaptureState, Fence, PodCapture};
use fairway_config::model::{CaptureExemption, Mesh, Workload};
use fairway_identity::ControllerChannel;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Interval at which the reporter looks for changes.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// An unchanged report is sent again after this time, because a new leader has not received it.
const RESEND_INTERVAL: Duration = Duration::from_secs(60);
/// Pause after a failed report.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// Time for the controller to answer one report.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the reports of one node, while this process owns its pods.
pub(crate) struct Reporter {
    pub(crate) node: Arc<str>,
    pub(crate) view: View,
    pub(crate) ownership: Ownership,
}

// === impl Reporter ===

impl Reporter {
    /// Sends reports until the task is aborted.
    pub(crate) async fn run(self, controller: ControllerChannel) -> Infallible {
        let mut client = CaptureClient::new(controller.into_service());
        let mut sent: Option<(Vec<PodCapture>, Instant)> = None;
        let mut failure = None;
        loop {
            self.ownership.wait_until_owner().await;
            let pods = pods(&self.view.state.load(), &self.node, &self.view.pods());
            if sent.as_ref().is_some_and(|(sent, at)| *sent == pods && at.elapsed() < RESEND_INTERVAL) {
                sleep(CHECK_INTERVAL).await;
                continue;
            }
            let report = CaptureReport { node: self.node.to_string(), pods: pods.clone() };
            match timeout(TIMEOUT, client.report(report)).await {
                Ok(Ok(_)) => {
                    sent = Some((pods, Instant::now()));
                    failure = None;
                }
                error => {
                    let error = match error {
                        Ok(Err(status)) => status.to_string(),
                        _ => format!("no answer within {} s", TIMEOUT.as_secs()),
                    };
                    // Logged once, not at each attempt.
                    if failure.as_ref() != Some(&error) {
                        tracing::warn!(
                            error,
                            "the controller cannot be told which pods are captured; trying again"
                        );
                        failure = Some(error);
                    }
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }
}

/// The report, sorted by name so that two reports can be compared.
fn pods(index: &Index, node: &str, registered: &[PodStatus]) -> Vec<PodCapture> {
    let registered: HashMap<&str, &PodStatus> = registered.iter().map(|it| (&*it.uid, it)).collect();
    let workloads = index.snapshot().workloads.values().filter(|it| &*it.node == node);
    let mut pods: Vec<PodCapture> =
        workloads.filter_map(|it| pod(it, registered.get(&*it.uid).copied())).collect();
    pods.sort_by(|a, b| a.pod.cmp(&b.pod));
    pods
}

fn pod(workload: &Workload, status: Option<&PodStatus>) -> Option<PodCapture> {
    let is_captured = status.is_some_and(|it| it.state == PodState::Captured);
    let (state, reason) = match (workload.mesh, workload.aside) {
        (Mesh::Captured(_), _) if is_captured => (CaptureState::Captured, String::new()),
        (Mesh::Captured(_), _) => {
            // Without a reason it is about to be.
            (CaptureState::Missing, status.and_then(|it| it.reason.clone()).unwrap_or_default())
        }
        (Mesh::Outside, Some(aside)) => {
            let (state, why) = describe_aside(aside);
            (state, why.to_owned())
        }
        // On its way out of the mesh.
        (Mesh::Outside, None) if status.is_some_and(|it| it.state == PodState::Releasing) => {
            (CaptureState::Captured, String::new())
        }
        (Mesh::Outside, None) => return None,
    };
    let (fence, older) = match status.and_then(|it| it.fence).filter(|_| state == CaptureState::Captured) {
        Some(FenceStatus::Up { older_connections }) => (Fence::Up, older_connections),
        Some(FenceStatus::Down) => (Fence::Down, 0),
        None => (Fence::Unspecified, 0),
    };
    Some(PodCapture {
        uid: workload.uid.to_string(),
        pod: workload.key.to_string(),
        state: state.into(),
        reason,
        repairs: status.map_or(0, |it| it.repairs),
        fence: fence.into(),
        older_connections: older,
    })
}

fn describe_aside(aside: CaptureExemption) -> (CaptureState, &'static str) {
    match aside {
        CaptureExemption::HostNetwork => (
            CaptureState::HostNetwork,
            "it has its node's network, and capturing that would cut the node off",
        ),
        CaptureExemption::OptedOut => {
            (CaptureState::OptedOut, "its label fairway.dev/mesh keeps it out of the mesh")
        }
        CaptureExemption::Proxy => {
            (CaptureState::Proxy, "it is a proxy of Fairway, which speaks mTLS itself")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_config::model::{Generation, MutualTls, Resource};
    use fairway_config::{Delta, Snapshot};

    fn workload(name: &str, node: &str, mesh: Mesh, aside: Option<CaptureExemption>) -> Resource {
        Resource::Workload(Arc::new(Workload {
            key: format!("shop/{name}").into(),
            uid: format!("uid-{name}").into(),
            addresses: vec![],
            identity: "spiffe://cluster.local/ns/shop/sa/a".parse().unwrap(),
            node: node.into(),
            node_uid: None,
            mesh,
            aside,
            probes: vec![],
            authorizations: vec![],
        }))
    }

    fn status(name: &str, state: PodState, reason: Option<&str>) -> PodStatus {
        PodStatus {
            uid: format!("uid-{name}").into(),
            pod: format!("shop/{name}").into(),
            state,
            reason: reason.map(str::to_owned),
            repairs: 2,
            connections: 0,
            fence: (state == PodState::Captured).then_some(FenceStatus::Up { older_connections: 3 }),
            namespace: None,
        }
    }

    #[test]
    fn pods_of_this_node_that_are_in_the_mesh_or_set_aside_are_told() {
        let captured = Mesh::Captured(MutualTls::Permissive);
        let upserts = vec![
            workload("in", "n1", captured, None),
            workload("failing", "n1", captured, None),
            workload("early", "n1", captured, None),
            workload("leaving", "n1", Mesh::Outside, None),
            workload("left", "n1", Mesh::Outside, None),
            workload("host", "n1", Mesh::Outside, Some(CaptureExemption::HostNetwork)),
            workload("proxy", "n1", Mesh::Outside, Some(CaptureExemption::Proxy)),
            workload("shy", "n1", Mesh::Outside, Some(CaptureExemption::OptedOut)),
            workload("elsewhere", "n2", captured, None),
        ];
        let delta = Delta { generation: Generation(1), upserts, removals: vec![] };
        let (next, changes) = Snapshot::default().apply(delta);
        let index = Index::default().update(&next, &changes);
        let registered = [
            status("in", PodState::Captured, None),
            status("failing", PodState::Failed, Some("no nftables")),
            status("leaving", PodState::Releasing, None),
            status("left", PodState::Outside, None),
        ];
        let said: Vec<_> = pods(&index, "n1", &registered)
            .into_iter()
            .map(|it| format!("{} {} {}", it.pod, it.state().as_str_name(), it.repairs))
            .collect();
        assert_eq!(
            said,
            [
                "shop/early CAPTURE_STATE_MISSING 0",
                "shop/failing CAPTURE_STATE_MISSING 2",
                "shop/host CAPTURE_STATE_HOST_NETWORK 0",
                "shop/in CAPTURE_STATE_CAPTURED 2",
                "shop/leaving CAPTURE_STATE_CAPTURED 2",
                "shop/proxy CAPTURE_STATE_PROXY 0",
                "shop/shy CAPTURE_STATE_OPTED_OUT 0",
            ]
        );
        let failing = pods(&index, "n1", &registered).into_iter().find(|it| it.pod == "shop/failing");
        assert_eq!(failing.unwrap().reason, "no nftables");
        let fence = |status: PodStatus| {
            let said = pods(&index, "n1", &[status]).into_iter().find(|it| it.pod == "shop/in").unwrap();
            (said.fence(), said.older_connections)
        };
        let [captured, failed, ..] = registered;
        assert_eq!(fence(captured.clone()), (Fence::Up, 3));
        assert_eq!(fence(PodStatus { fence: Some(FenceStatus::Down), ..captured }), (Fence::Down, 0));
        assert_eq!(fence(failed), (Fence::Unspecified, 0));
    }
}
