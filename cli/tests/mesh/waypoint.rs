//! What a Service's routes say holds, or the request is refused: nobody goes around a waypoint.

use crate::load::Load;
use crate::{eventually, stage};
use fairway_cli::demo::client::get;
use fairway_testbed::Sandbox;

#[test]
fn without_its_waypoint_a_service_is_refused_and_others_are_served() {
    let name = "waypoint::without_its_waypoint_a_service_is_refused_and_others_are_served";
    Sandbox::run_async_test(name, async |sandbox| {
        let mut stage = stage(sandbox, "24h").await;
        let load = Load::start(&stage, &["catalog"]);
        let reviews = stage.service("bookshop/reviews", 80).unwrap();
        let ask = async |stage: &fairway_cli::demo::stage::Stage| {
            get(stage.pod("bookshop/reader").unwrap(), reviews, "reviews", "/").await
        };
        assert_eq!(ask(&stage).await.unwrap().status, 200);

        stage.programs().kill("bookshop.waypoint-fairway-waypoint").await.unwrap();
        for _ in 0..20 {
            let served = ask(&stage).await.ok().filter(|it| it.pod() != "nobody");
            assert!(served.is_none(), "went around the waypoint: {served:?}");
        }
        load.flow(200).await;
        // Its pod is gone from the cluster, too: still refused.
        stage.forget_pod("bookshop/waypoint-fairway-waypoint").unwrap();
        for _ in 0..20 {
            let served = ask(&stage).await.ok().filter(|it| it.pod() != "nobody");
            assert!(served.is_none(), "went around the waypoint: {served:?}");
            load.flow(20).await;
        }

        stage.add_proxy_replica("bookshop/waypoint").await.unwrap();
        eventually("the new waypoint to serve", async || ask(&stage).await.is_ok_and(|it| it.status == 200))
            .await;
        load.stop().await;
    });
}
