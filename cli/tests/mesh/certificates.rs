//! Certificates that live a minute.

use crate::environment;
use crate::load::Load;
use fairway_cli::demo::client::{Ask, Session};
use fairway_cli::demo::environment::ZTUNNEL_ADMIN;
use fairway_testbed::Sandbox;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Longer than half a certificate's life, at which it is renewed, and than what the renewal is put off by chance.
const WATCH: Duration = Duration::from_secs(45);

/// The seconds that each of ztunnel's certificates is still valid.
async fn lifetimes() -> BTreeMap<String, u64> {
    let node = TcpStream::connect(ZTUNNEL_ADMIN).await.unwrap();
    let mut session = Session::over(node, "localhost").await.unwrap();
    let answer = session.ask(&Ask { path: "/identities", ..Ask::default() }).await.unwrap();
    let states = answer.echo.as_array().expect("a list").iter();
    let lifetime =
        |it: &serde_json::Value| Some((it["id"].as_str()?.to_owned(), it["expires_in_seconds"].as_u64()?));
    states.filter_map(lifetime).collect()
}

#[test]
fn certificates_are_renewed_under_traffic() {
    Sandbox::run_async_test("certificates::certificates_are_renewed_under_traffic", async |sandbox| {
        let environment = environment(sandbox, "1m").await;
        let load = Load::start(&environment, &["reviews", "catalog"]);
        let (mut last, mut renewals) = (lifetimes().await, BTreeMap::<String, u32>::new());
        assert!(last.len() >= 5 && last.values().all(|left| *left <= 60), "{last:?}");
        let end = Instant::now() + WATCH;
        while Instant::now() < end {
            sleep(Duration::from_millis(250)).await;
            load.flow(1).await;
            let now = lifetimes().await;
            for (id, left) in &now {
                if last.get(id).is_some_and(|before| left > before) {
                    *renewals.entry(id.clone()).or_default() += 1;
                }
            }
            last = now;
        }
        for who in ["reader", "catalog", "reviews"] {
            let id = format!("spiffe://cluster.local/ns/bookshop/sa/{who}");
            assert!(renewals.contains_key(&id), "{id} was not renewed: {renewals:?}, left {last:?}");
        }
        assert!(load.answers() > 1000);
        load.stop().await;
    });
}
