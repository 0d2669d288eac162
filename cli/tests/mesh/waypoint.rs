//! What a Service's routes say holds, or the request is refused: nobody goes around a waypoint.

use crate::load::Load;
use crate::{environment, eventually};
use fairway_cli::demo::client::get;
use fairway_cli::demo::environment::Environment;
use fairway_testbed::Sandbox;
use futures_util::future::join_all;

#[test]
fn without_its_waypoint_a_service_is_refused_and_others_are_served() {
    let name = "waypoint::without_its_waypoint_a_service_is_refused_and_others_are_served";
    Sandbox::run_async_test(name, async |sandbox| {
        let mut environment = environment(sandbox, "24h").await;
        let load = Load::start(&environment, &["catalog"]);
        let reviews = environment.service("bookshop/reviews", 80).unwrap();
        let ask = async |environment: &Environment| {
            get(environment.pod("bookshop/reader").unwrap(), reviews, "reviews", "/").await
        };
        assert_eq!(ask(&environment).await.unwrap().status, 200);

        environment.programs().kill("bookshop.waypoint-fairway-waypoint").await.unwrap();
        let nobody_is_served = async |environment: &Environment| {
            // A refusal may take as long as connecting does: all at once.
            for served in join_all((0..20).map(|_| ask(environment))).await {
                let served = served.ok().filter(|it| it.pod() != "nobody");
                assert!(served.is_none(), "went around the waypoint: {served:?}");
            }
            load.flow(200).await;
        };
        nobody_is_served(&environment).await;
        // Its pod is gone from the cluster, too: still refused.
        environment.forget_pod("bookshop/waypoint-fairway-waypoint").unwrap();
        nobody_is_served(&environment).await;
        nobody_is_served(&environment).await;

        environment.add_proxy_replica("bookshop/waypoint").await.unwrap();
        eventually("the new waypoint to serve", async || {
            ask(&environment).await.is_ok_and(|it| it.status == 200)
        })
        .await;
        load.stop().await;
    });
}
