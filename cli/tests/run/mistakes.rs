//! A mistake in a file or an object leaves its last good state in force, and says where it is and what to do.

use crate::shop::Shop;
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_file_that_is_half_written_takes_nothing_away() {
    let shop = Shop::open().await;
    let text = shop.route("books", "one");
    shop.write("route.yaml", &text);
    let program = shop.run(&[]).await;
    shop.eventually_marked(&program, "books.example", "one").await;

    // Within a word, within a flow mapping, within the metadata, and nothing at all that is an object.
    for (end, part) in
        [("parentRefs", "route.yaml"), ("{ set: [{", "route.yaml"), ("namespace: sh", "route.yaml")]
    {
        let at = text.find(end).unwrap() + end.len();
        shop.write_in_place("route.yaml", &text[..at]);
        program.eventually_names(&[part, ":"]).await;
        assert_eq!(shop.mark("books.example").await.as_deref(), Some("one"), "up to `{end}`");
        shop.write_in_place("route.yaml", &text);
        program.eventually_content().await;
    }
    assert!(program.log().contains("route.yaml"), "{}", program.log());
    assert_eq!(shop.mark("books.example").await.as_deref(), Some("one"));
}

#[tokio::test]
async fn an_object_with_a_mistake_stays_as_it_was_and_the_mistake_is_named() {
    let shop = Shop::open().await;
    let text = shop.route("books", "one");
    shop.write("routes.yaml", &format!("{text}---\n{}", shop.route("music", "one")));
    let program = shop.run(&[]).await;
    shop.eventually_marked(&program, "books.example", "one").await;

    for (right, wrong, named) in [
        (
            "hostnames: [books.example]",
            "hostname: [books.example]",
            ["spec.hostname", "no such field", "did you mean `hostnames`?"],
        ),
        (
            "type: ResponseHeaderModifier",
            "type: ResponseHeaderModifer",
            ["spec.rules[0].filters[0].type", "`ResponseHeaderModifer` is not allowed", "use one of"],
        ),
        ("name: books, port", "name: 7, port", ["spec.rules[0].backendRefs[0].name", "", "put it in quotes"]),
    ] {
        // The object with the mistake is marked anew, and so is its neighbour in the same file.
        let mistaken = text.replace("value: one", "value: two").replace(right, wrong);
        assert!(mistaken.contains(wrong), "{right}");
        let mark = named[0].len().to_string();
        shop.write("routes.yaml", &format!("{mistaken}---\n{}", shop.route("music", &format!("n{mark}"))));
        program
            .eventually_names(&["routes.yaml:1", "HTTPRoute shop/books", named[0], named[1], named[2]])
            .await;
        shop.eventually_marked(&program, "music.example", &format!("n{mark}")).await;
        assert_eq!(shop.mark("books.example").await.as_deref(), Some("one"), "{wrong}");
    }
    shop.write("routes.yaml", &text.replace("value: one", "value: three"));
    shop.eventually_marked(&program, "books.example", "three").await;
    program.eventually_content().await;
}

#[tokio::test]
async fn a_backend_that_does_not_exist_is_named_and_answered_for_with_500() {
    let shop = Shop::open().await;
    shop.write("route.yaml", &shop.route("books", "one").replace("name: books, port", "name: bokos, port"));
    let program = shop.run(&[]).await;
    assert_eq!(shop.ask("books.example").await.unwrap().status, 500);
    program
        .eventually_names(&[
            "HTTPRoute shop/books spec.rules[0].backendRefs[0]",
            "Service shop/bokos",
            "create",
        ])
        .await;
}

#[tokio::test]
async fn a_listener_whose_port_somebody_has_is_not_programmed_and_says_why() {
    let shop = Shop::open().await;
    let holder = TcpListener::bind(shop.gateway).await.unwrap();
    let program = shop.run(&[]).await;
    let place = format!("cannot listen on {}", shop.gateway);
    program.eventually_names(&["Gateway shop/edge", "Listener", &place, "another process"]).await;
    let programmed = |state: &Value| {
        let gateway = &state["objects"]["Gateway shop/edge"];
        let of = |holder: &Value| {
            let mut conditions = holder["conditions"].as_array().unwrap().iter();
            conditions.find(|it| it["type"] == "Programmed").unwrap().clone()
        };
        [of(gateway), of(&gateway["listeners"][0])]
    };
    let [whole, listener] = programmed(&program.state().await);
    assert_eq!((&whole["status"], &listener["status"]), (&json!("False"), &json!("False")));
    assert!(listener["message"].as_str().unwrap().contains(&place), "{listener}");

    // It is tried again with the next change.
    drop(holder);
    shop.write("route.yaml", &shop.route("books", "one"));
    shop.eventually_marked(&program, "books.example", "one").await;
    program.eventually_content().await;
    let all = programmed(&program.state().await);
    assert!(all.iter().all(|it| it["status"] == "True"), "{all:?}");
}
