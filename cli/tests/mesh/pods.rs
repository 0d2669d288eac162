//! Pods come and go while traffic flows.

use crate::load::Load;
use crate::{environment, eventually};
use fairway_testbed::Sandbox;

#[test]
fn pods_come_and_go_without_a_failed_request() {
    Sandbox::run_async_test("pods::pods_come_and_go_without_a_failed_request", async |sandbox| {
        let mut environment = environment(sandbox, "24h").await;
        let load = Load::start(&environment, &["reviews", "catalog"]);
        load.flow(200).await;
        for old in ["catalog-1", "reviews-v1-1"] {
            let key = format!("bookshop/{old}");
            let new = environment.add_replica(&key).await.unwrap();
            let new = new.rsplit('/').next().unwrap();
            eventually("the new pod to answer", async || load.answers_of(new) > 0).await;

            environment.forget_pod(&key).unwrap();
            // Its container runs until nobody sends it anything any more, as a preStop hook sees to.
            eventually("the old pod to be left alone", async || {
                let before = load.answers_of(old);
                load.flow(300).await;
                load.answers_of(old) == before
            })
            .await;
            environment.stop_pod(&key).await.unwrap();
            load.flow(300).await;
        }
        load.stop().await;
    });
}
