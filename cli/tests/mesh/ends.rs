//! SIGTERM to each kind of program under load.

use crate::load::Load;
use crate::stage;
use fairway_cli::demo::client::{Ask, Session, get};
use fairway_testbed::Sandbox;
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::sleep;

#[test]
fn a_waypoint_that_ends_leaves_its_traffic_to_another_without_a_failed_request() {
    let name = "ends::a_waypoint_that_ends_leaves_its_traffic_to_another_without_a_failed_request";
    Sandbox::run_async_test(name, async |sandbox| {
        let mut stage = stage(sandbox, "24h").await;
        let load = Load::start(&stage, &["reviews"]);
        load.flow(200).await;
        stage.add_proxy_replica("bookshop/waypoint").await.unwrap();
        load.flow(200).await;
        // As in a cluster: the pod is on its way out, and at the same time its program hears of it.
        stage.forget_pod("bookshop/waypoint-fairway-waypoint").unwrap();
        stage.programs().terminate("bookshop.waypoint-fairway-waypoint").unwrap();
        load.flow(200).await;
        let status = stage.programs().ended("bookshop.waypoint-fairway-waypoint").await.unwrap();
        assert!(status.success(), "{status}");
        load.flow(200).await;
        load.stop().await;
    });
}

#[test]
fn requests_in_flight_outlive_sigterm_to_ztunnel() {
    Sandbox::run_async_test("ends::requests_in_flight_outlive_sigterm_to_ztunnel", async |sandbox| {
        let mut stage = stage(sandbox, "24h").await;
        let mut slow = Vec::new();
        for service in ["reviews", "catalog"] {
            let address = stage.service(&format!("bookshop/{service}"), 80).unwrap();
            let reader = stage.pod("bookshop/reader").unwrap();
            let mut session = Session::open(reader, address, service).await.unwrap();
            // The tunnel is there before the end begins.
            assert_eq!(session.ask(&Ask { path: "/", ..Ask::default() }).await.unwrap().status, 200);
            slow.push(spawn_local(async move {
                let ask = Ask { path: "/book/7?delay=4s", ..Ask::default() };
                session.ask(&ask).await.map(|answer| answer.status)
            }));
        }
        sleep(Duration::from_millis(200)).await; // the requests are to be on their way, not answered
        stage.programs().terminate("ztunnel").unwrap();
        for request in slow {
            assert_eq!(request.await.unwrap().unwrap(), 200);
        }
        let status = stage.programs().ended("ztunnel").await.unwrap();
        assert!(status.success(), "{status}");
        // Nothing is sent around a ztunnel that is gone.
        let vault = stage.pod_address("bookshop/vault-1", 8080).unwrap();
        let reader = stage.pod("bookshop/reader").unwrap();
        let served = get(reader, vault, "vault", "/").await.ok();
        assert!(served.is_none(), "{served:?}");
    });
}
