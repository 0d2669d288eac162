//! Clients of a Gateway that stop reading delay nobody else on the way to the same pod.

use crate::{environment, eventually};
use fairway_cli::demo::client::{Ask, Session};
use fairway_testbed::Sandbox;

/// More than every buffer on the way together.
const ENDLESS: &str = "/?size=1073741824";
const MUCH: usize = 16 << 20;

#[test]
fn readers_that_stop_at_a_gateway_delay_nobody_on_the_way_to_the_same_pod() {
    let name = "fairness::readers_that_stop_at_a_gateway_delay_nobody_on_the_way_to_the_same_pod";
    Sandbox::run_async_test(name, async |sandbox| {
        let environment = environment(sandbox, "24h").await;
        let (outside, gateway) = (
            environment.pod("legacy/till").unwrap(),
            environment.pod_address("edge/public-fairway", 443).unwrap(),
        );
        let (inside, catalog) = (
            environment.pod("bookshop/reader").unwrap(),
            environment.service("bookshop/catalog", 80).unwrap(),
        );
        eventually("the Gateway to listen", async || outside.connect(gateway).await.is_ok()).await;
        let open = async || {
            Session::over_tls(outside.connect(gateway).await.unwrap(), "www.bookshop.example").await.unwrap()
        };
        let mut stalled = Vec::new();
        for _ in 0..100 {
            let mut session = open().await;
            let answer = session.send(&Ask { path: ENDLESS, ..Ask::default() }).await.unwrap();
            assert_eq!(answer.status(), 200);
            // Held, and not read.
            stalled.push((session, answer));
        }
        for path in ["/book/7".to_owned(), format!("/?size={MUCH}")] {
            for _ in 0..5 {
                let ask = Ask { path: &path, ..Ask::default() };
                let through_the_gateway = open().await.ask(&ask).await.unwrap();
                let from_pod_to_pod =
                    Session::open(inside, catalog, "catalog").await.unwrap().ask(&ask).await.unwrap();
                for answer in [through_the_gateway, from_pod_to_pod] {
                    assert_eq!(answer.status, 200, "{path}");
                    assert!(path == "/book/7" || answer.text.len() == MUCH, "{path}: {}", answer.text.len());
                }
            }
        }
    });
}
