//! Clients of a Gateway that stop reading delay nobody else on the way to the same pod.

use crate::{environment, eventually};
use fairway_cli::demo::client::{Ask, Session};
use fairway_testbed::Sandbox;
use std::time::Duration;
use tokio::time::Instant;

/// More than every buffer on the way together.
const ENDLESS: &str = "/?size=1073741824";
const MUCH: usize = 16 << 20;
/// How many requests of each kind are measured.
const MEASURED: usize = 5;

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
        // How long half of the requests of others take, of each kind.
        let measure = async || {
            let much = format!("/?size={MUCH}");
            let mut measured = Vec::new();
            for path in ["/book/7", much.as_str()] {
                let ask = Ask { path, ..Ask::default() };
                let (mut through_the_gateway, mut from_pod_to_pod) = (Vec::new(), Vec::new());
                for _ in 0..MEASURED {
                    let began = Instant::now();
                    let answer = open().await.ask(&ask).await.unwrap();
                    through_the_gateway.push(began.elapsed());
                    let began = Instant::now();
                    let other =
                        Session::open(inside, catalog, "catalog").await.unwrap().ask(&ask).await.unwrap();
                    from_pod_to_pod.push(began.elapsed());
                    for answer in [answer, other] {
                        assert_eq!(answer.status, 200, "{path}");
                        assert!(
                            path == "/book/7" || answer.text.len() == MUCH,
                            "{path}: {}",
                            answer.text.len()
                        );
                    }
                }
                for mut times in [through_the_gateway, from_pod_to_pod] {
                    times.sort();
                    measured.push(times[MEASURED / 2]);
                }
            }
            measured
        };
        let alone = measure().await;
        let mut stalled = Vec::new();
        for count in [1, 4, 100] {
            while stalled.len() < count {
                let mut session = open().await;
                let answer = session.send(&Ask { path: ENDLESS, ..Ask::default() }).await.unwrap();
                assert_eq!(answer.status(), 200);
                // Held, and not read.
                stalled.push((session, answer));
            }
            for (alone, beside) in alone.iter().zip(measure().await) {
                // Whoever waits for those waits for good; and other tests use the machine, too.
                let most = (*alone * 10).max(Duration::from_secs(1));
                assert!(beside <= most, "beside {count}: {beside:?} instead of {alone:?}");
            }
        }
    });
}
