//! SIGTERM to each kind of program under load.

use crate::load::Load;
use crate::{environment, eventually};
use fairway_cli::demo::client::{Ask, Session, get};
use fairway_testbed::Sandbox;
use tokio::task::spawn_local;

#[test]
fn a_waypoint_that_ends_leaves_its_traffic_to_another_without_a_failed_request() {
    let name = "ends::a_waypoint_that_ends_leaves_its_traffic_to_another_without_a_failed_request";
    Sandbox::run_async_test(name, async |sandbox| {
        let mut environment = environment(sandbox, "24h").await;
        let load = Load::start(&environment, &["reviews"]);
        load.flow(200).await;
        environment.add_proxy_replica("bookshop/waypoint").await.unwrap();
        load.flow(200).await;
        // As in a cluster: the pod is on its way out, and at the same time its program hears of it.
        environment.forget_pod("bookshop/waypoint-fairway-waypoint").unwrap();
        environment.programs().terminate("bookshop.waypoint-fairway-waypoint").unwrap();
        load.flow(200).await;
        let status = environment.programs().ended("bookshop.waypoint-fairway-waypoint").await.unwrap();
        assert!(status.success(), "{status}");
        load.flow(200).await;
        load.stop().await;
    });
}

#[test]
fn a_gateway_that_ends_leaves_its_traffic_to_another_without_a_failed_request() {
    let name = "ends::a_gateway_that_ends_leaves_its_traffic_to_another_without_a_failed_request";
    Sandbox::run_async_test(name, async |sandbox| {
        let mut environment = environment(sandbox, "24h").await;
        let (old, new) = ("edge/public-fairway", environment.add_proxy_replica("edge/public").await.unwrap());
        // Clients go to the old one for as long as it listens.
        let load = Load::start_outside(&environment, &[old, &new]);
        load.flow(200).await;
        environment.forget_pod(old).unwrap();
        environment.programs().terminate("edge.public-fairway").unwrap();
        load.flow(200).await;
        let status = environment.programs().ended("edge.public-fairway").await.unwrap();
        assert!(status.success(), "{status}");
        load.flow(200).await;
        load.stop().await;
    });
}

#[test]
fn requests_in_flight_outlive_sigterm_to_ztunnel() {
    Sandbox::run_async_test("ends::requests_in_flight_outlive_sigterm_to_ztunnel", async |sandbox| {
        let mut environment = environment(sandbox, "24h").await;
        let mut slow = Vec::new();
        for (service, pod) in [("reviews", "reviews-v2-1"), ("catalog", "catalog-1")] {
            let address = environment.service(&format!("bookshop/{service}"), 80).unwrap();
            let reader = environment.pod("bookshop/reader").unwrap();
            let mut session = Session::open(reader, address, service).await.unwrap();
            slow.push(spawn_local(async move {
                let headers = &[("x-reader", "beta")];
                let ask = Ask { path: "/in-flight?delay=3s", headers, body: Some("slowly") };
                session.ask(&ask).await.map(|answer| answer.status)
            }));
            // The pod has it, which it tells a client outside the mesh, too.
            let pod = environment.pod_address(&format!("bookshop/{pod}"), 8080).unwrap();
            eventually("the request to arrive", async || {
                let seen =
                    get(environment.pod("legacy/till").unwrap(), pod, service, "/_seen").await.unwrap();
                seen.text.contains("/in-flight")
            })
            .await;
        }
        environment.programs().terminate("ztunnel").unwrap();
        for request in slow {
            assert_eq!(request.await.unwrap().unwrap(), 200);
        }
        let status = environment.programs().ended("ztunnel").await.unwrap();
        assert!(status.success(), "{status}");
        // Nothing is sent around a ztunnel that is gone.
        let vault = environment.pod_address("bookshop/vault-1", 8080).unwrap();
        let reader = environment.pod("bookshop/reader").unwrap();
        let served = get(reader, vault, "vault", "/").await.ok();
        assert!(served.is_none(), "{served:?}");
    });
}
