//! How often requests may come, from a file to the answer.

use crate::shop::Shop;
use fairway_echo::client::{Answer, Client};
use http::StatusCode;
use tokio::net::TcpStream;

/// A policy of the Gateway.
fn policy(spec: &str) -> String {
    format!(
        "apiVersion: fairway.dev/v1alpha1
kind: RateLimitPolicy
metadata: {{ name: p, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }}]
  {spec}
"
    )
}

const THREE_A_DAY: &str = "local: [{ name: all, requests: 3, per: Day }]";

async fn ask(shop: &Shop) -> Option<Answer> {
    let stream = TcpStream::connect(shop.gateway).await.ok()?;
    Client::http1(stream).await.ok()?.get("books.example", "/").await.ok()
}

async fn status(shop: &Shop) -> Option<StatusCode> {
    Some(ask(shop).await?.status)
}

#[tokio::test]
async fn a_limit_comes_stays_through_other_edits_changes_breaks_and_goes() {
    let shop = Shop::open().await;
    shop.write("route.yaml", &shop.route("books", "one"));
    let program = shop.run(&[]).await;
    shop.eventually_marked(&program, "books.example", "one").await;

    let limited = Some(StatusCode::TOO_MANY_REQUESTS);
    shop.write("policy.yaml", &policy(THREE_A_DAY));
    program.eventually("the limit", async |_| status(&shop).await == limited).await;
    let answer = ask(&shop).await.unwrap();
    let seconds: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((28_000..=28_800).contains(&seconds), "{answer:?}");
    assert!(!String::from_utf8_lossy(&answer.body).contains("policy"), "{answer:?}");

    // Another edit leaves what has been counted.
    shop.write("other.yaml", &shop.route("other", "two"));
    shop.eventually_status(&program, "other.example", StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(status(&shop).await, limited);

    shop.write("policy.yaml", &policy(&format!("mode: Observe\n  {THREE_A_DAY}")));
    program.eventually("the observation", async |_| status(&shop).await == Some(StatusCode::OK)).await;
    shop.write("policy.yaml", &policy(THREE_A_DAY));
    program.eventually("the limit again", async |_| status(&shop).await == limited).await;

    // A slip of the pen closes, and says why.
    shop.write("policy.yaml", &policy("local: [{ requests: 3, per: Day, brust: 5 }]"));
    program
        .eventually("the slip", async |_| status(&shop).await == Some(StatusCode::INTERNAL_SERVER_ERROR))
        .await;
    program.eventually_names(&["RateLimitPolicy shop/p", "unknown field"]).await;

    shop.remove("policy.yaml");
    program.eventually("the end", async |_| status(&shop).await == Some(StatusCode::OK)).await;
}
