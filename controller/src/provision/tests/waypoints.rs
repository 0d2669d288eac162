//! Waypoints that nobody wrote: Gateways that appear with need and go some time after it.

use super::running::Running;
use super::server::ApiServer;
use crate::provision::Wanted;
use fairway_config::model::ObjectName;
use serde_json::json;
use std::time::Duration;

fn needed(names: &[&str]) -> Wanted {
    let waypoints = names.iter().map(|it| ObjectName::new("shop", *it)).collect();
    Wanted { waypoints, ..Wanted::default() }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_waypoint_that_nothing_needs_is_kept_for_a_while_and_then_goes() {
    let server = ApiServer::default();
    let mut running = Running::on(&server);
    assert_eq!(running.want_all(needed(&["waypoint"])).await, ["gateways waypoint"]);
    let gateway = server.get("gateways", "shop", "waypoint").unwrap();
    assert_eq!(gateway["spec"]["gatewayClassName"], "fairway-waypoint");
    assert_eq!(gateway["metadata"]["annotations"]["fairway.dev/implied"], "true");
    assert_eq!(gateway["metadata"]["labels"]["app.kubernetes.io/managed-by"], "fairway-controller");

    assert_eq!(running.want_all(needed(&[])).await, [""; 0]);
    tokio::time::sleep(9 * MINUTE).await;
    assert_eq!(
        running.want_all(needed(&["waypoint"])).await,
        [""; 0],
        "it is still there when it is needed again"
    );
    running.want_all(needed(&[])).await;
    tokio::time::sleep(9 * MINUTE).await;
    assert_eq!(server.take_writes(), [""; 0], "and then the time begins anew");
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(server.take_writes(), ["delete gateways waypoint"]);
    tokio::time::sleep(60 * MINUTE).await;
    assert_eq!(server.take_writes(), [""; 0]);
    assert_eq!(running.want_all(needed(&["waypoint"])).await, ["gateways waypoint"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_starts_finds_what_another_left() {
    let server = ApiServer::default();
    let mut first = Running::on(&server);
    first.want_all(needed(&["waypoint"])).await;
    drop(first);
    let mut second = Running::on(&server);
    tokio::time::sleep(60 * MINUTE).await;
    assert_eq!(second.settled().await, [""; 0], "nobody has said yet what is needed");
    second.want_all(needed(&[])).await;
    tokio::time::sleep(11 * MINUTE).await;
    assert_eq!(server.take_writes(), ["delete gateways waypoint"]);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_somebody_wrote_is_never_touched() {
    let server = ApiServer::default();
    let theirs = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "name": "waypoint", "namespace": "shop", "annotations": { "fairway.dev/implied": "true" } },
        "spec": { "gatewayClassName": "fairway-waypoint", "listeners": [] },
    });
    server.put("gateways", "kubectl", theirs);
    let mut running = Running::on(&server);
    running.want_all(needed(&["waypoint"])).await;
    let trouble = running.troubles.borrow()[&ObjectName::new("shop", "waypoint")].clone();
    assert!(trouble.contains("Fairway did not make"), "{trouble}");
    running.want_all(needed(&[])).await;
    tokio::time::sleep(60 * MINUTE).await;
    assert!(server.get("gateways", "shop", "waypoint").is_some());
}
