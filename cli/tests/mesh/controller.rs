//! The controller crashes and comes back.

use crate::load::Load;
use crate::{environment, eventually};
use fairway_cli::demo::client::get;
use fairway_cli::demo::environment::write;
use fairway_testbed::Sandbox;

#[test]
fn traffic_outlives_the_controller_and_edits_follow_when_it_is_back() {
    let name = "controller::traffic_outlives_the_controller_and_edits_follow_when_it_is_back";
    Sandbox::run_async_test(name, async |sandbox| {
        let mut environment = environment(sandbox, "24h").await;
        let load = Load::start(&environment, &["reviews", "catalog"]);
        load.flow(300).await;
        environment.programs().kill("controller").await.unwrap();
        load.flow(600).await;
        // An edit that nobody is there to see.
        let path = environment.objects.join("bookshop/reviews.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let filter = "    - name: everyone\n      filters:\n        - type: ResponseHeaderModifier\n          \
                      responseHeaderModifier: {set: [{name: x-edited, value: while-away}]}\n";
        let edited = text.replace("    - name: everyone\n", filter);
        assert_ne!(text, edited);
        write(&path, &edited).unwrap();
        load.flow(100).await;

        environment.start_controller().await.unwrap();
        let reviews = environment.service("bookshop/reviews", 80).unwrap();
        eventually("the edit to take effect", async || {
            let answer =
                get(environment.pod("bookshop/reader").unwrap(), reviews, "reviews", "/").await.unwrap();
            answer.header("x-edited") == Some("while-away")
        })
        .await;
        load.flow(300).await;
        load.stop().await;
        assert_eq!(environment.ended_program(), None);
    });
}
