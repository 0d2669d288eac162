//! Who may do what, from a file to the answer.

use crate::shop::Shop;
use fairway_echo::client::{Client, CollectedResponse};
use http::StatusCode;
use tokio::net::TcpStream;

/// A policy of the Gateway.
fn policy(spec: &str) -> String {
    format!(
        "apiVersion: fairway.dev/v1alpha1
kind: AccessPolicy
metadata: {{ name: p, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }}]
  {spec}
"
    )
}

const NO_ADMIN: &str = "action: Deny\n  rules: [{ name: admin, to: [{ paths: [{ value: /admin }] }] }]";

async fn ask(shop: &Shop, path: &str) -> Option<CollectedResponse> {
    let stream = TcpStream::connect(shop.gateway).await.ok()?;
    Client::http1(stream).await.ok()?.get("books.example", path).await.ok()
}

async fn status(shop: &Shop, path: &str) -> Option<StatusCode> {
    Some(ask(shop, path).await?.status)
}

#[tokio::test]
async fn a_policy_comes_changes_breaks_and_goes() {
    let shop = Shop::open().await;
    shop.write("route.yaml", &shop.route("books", "one"));
    let program = shop.run(&[]).await;
    shop.eventually_marked(&program, "books.example", "one").await;
    assert_eq!(status(&shop, "/admin").await, Some(StatusCode::OK));

    shop.write("policy.yaml", &policy(NO_ADMIN));
    program
        .eventually("the denial", async |_| status(&shop, "/admin").await == Some(StatusCode::FORBIDDEN))
        .await;
    for path in ["//admin", "/admin;x", "/%61dmin", "/%2Fadmin"] {
        let answer = ask(&shop, path).await.unwrap();
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("policy"), "{answer:?}");
    }
    assert_eq!(status(&shop, "/").await, Some(StatusCode::OK));

    // Nobody but an address that no client here has.
    shop.write("policy.yaml", &policy("action: Allow\n  rules: [{ from: [{ cidrs: [192.0.2.0/24] }] }]"));
    program.eventually("the Allow", async |_| status(&shop, "/").await == Some(StatusCode::FORBIDDEN)).await;
    shop.write("policy.yaml", &policy("action: Allow\n  rules: [{ from: [{ cidrs: [127.0.0.0/8] }] }]"));
    program.eventually("the address", async |_| status(&shop, "/admin").await == Some(StatusCode::OK)).await;

    // A slip of the pen closes, and says why.
    shop.write("policy.yaml", &policy("action: Allow\n  rules: [{ from: [{ cidr: [127.0.0.0/8] }] }]"));
    program.eventually("the slip", async |_| status(&shop, "/").await == Some(StatusCode::FORBIDDEN)).await;
    program.eventually_names(&["AccessPolicy shop/p", "unknown field"]).await;

    shop.remove("policy.yaml");
    program.eventually("the end", async |_| status(&shop, "/admin").await == Some(StatusCode::OK)).await;
}
