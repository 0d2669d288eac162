//! Edits of the directory take effect while it runs.

use crate::shop::{Shop, ask};
use http::StatusCode;

#[tokio::test]
async fn a_route_comes_changes_moves_and_goes() {
    let shop = Shop::open().await;
    let program = shop.run(&[]).await;
    let first = program.generation().await;
    assert!(first > 0, "ready, so something is in force");
    assert_eq!(shop.ask("books.example").await.unwrap().status, StatusCode::NOT_FOUND);

    shop.write("route.yaml", &shop.route("books", "one"));
    shop.eventually_marked(&program, "books.example", "one").await;
    program.eventually("a later generation", async |program| program.generation().await > first).await;

    shop.write_in_place("route.yaml", &shop.route("books", "two"));
    shop.eventually_marked(&program, "books.example", "two").await;

    // Nothing is different, so nothing is committed; the next edit shows that the new name is known.
    shop.rename("route.yaml", "renamed.yaml");
    shop.write("other.yaml", &shop.route("music", "other"));
    shop.eventually_marked(&program, "music.example", "other").await;
    assert_eq!(shop.mark("books.example").await.as_deref(), Some("two"));

    shop.remove("renamed.yaml");
    shop.eventually_status(&program, "books.example", StatusCode::NOT_FOUND).await;
    assert_eq!(shop.mark("music.example").await.as_deref(), Some("other"));
}

#[tokio::test]
async fn a_route_bound_to_a_service_is_enforced_at_the_service_address() {
    let shop = Shop::open().await;
    let bound = shop.route("books", "mesh").replace(
        "    - { name: edge }\n  hostnames: [books.example]\n",
        "    - { group: \"\", kind: Service, name: books }\n",
    );
    shop.write("route.yaml", &bound);
    let program = shop.run(&[]).await;
    let answer = ask(shop.service, "anything").await.unwrap();
    assert_eq!(answer.pod(), Some("books-1"), "{answer:?}");
    assert_eq!(answer.headers["x-mark"], "mesh");

    shop.write("route.yaml", &bound.replace("value: mesh", "value: edited"));
    program
        .eventually("the edit", async |_| {
            ask(shop.service, "anything").await.is_ok_and(|it| it.headers["x-mark"] == "edited")
        })
        .await;
}

#[tokio::test]
async fn a_gateway_that_is_removed_and_comes_back_at_once_is_served() {
    let shop = Shop::open().await;
    shop.write("route.yaml", &shop.route("books", "one"));
    let program = shop.run(&[]).await;
    let objects = std::fs::read_to_string(shop.directory.join("shop.yaml")).unwrap();
    shop.eventually_marked(&program, "books.example", "one").await;

    shop.remove("shop.yaml");
    program.eventually("the Gateway to be gone", async |_| shop.ask("books.example").await.is_err()).await;
    shop.write("shop.yaml", &objects);
    shop.eventually_marked(&program, "books.example", "one").await;
    let state = program.state().await;
    assert_eq!(state["proxies"][0]["rejected"], serde_json::json!([]), "{}", program.log());
    assert!(!program.log().contains("Address already in use"), "{}", program.log());
}
