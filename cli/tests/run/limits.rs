//! How often requests may come, from a file to the answer.

use crate::shop::Shop;
use fairway_echo::client::{Client, CollectedResponse};
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

async fn ask(shop: &Shop) -> Option<CollectedResponse> {
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

/// What a page says under a heading: its manifests, and its commands.
fn documented(heading: &str) -> (String, Vec<String>) {
    let page = include_str!("../../../docs/rate-limit-policy.md");
    let section = page.split("\n## ").find(|it| it.starts_with(heading)).expect("the heading");
    let blocks: Vec<String> = section
        .split("\n\n")
        .filter(|it| it.starts_with("    "))
        .map(|it| {
            it.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
        })
        .collect();
    let (manifests, commands): (Vec<_>, Vec<_>) =
        blocks.into_iter().partition(|it| it.starts_with("apiVersion"));
    let commands = commands.iter().flat_map(|it| it.lines()).filter(|it| it.starts_with("curl"));
    (manifests.join("\n---\n"), commands.map(str::to_owned).collect())
}

/// What a command says.
async fn output(command: &str, gateway: std::net::SocketAddr) -> String {
    let output = tokio::process::Command::new("sh")
        .args(["-c", command])
        .env("GATEWAY", gateway.to_string())
        .output()
        .await
        .expect("sh");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_thousand_requests_a_minute_for_each_customer_are_what_the_page_says() {
    let (manifest, commands) = documented("1,000 requests a minute for each customer");
    let [many, another, told] = &commands[..] else { panic!("{commands:?}") };
    let shop = Shop::open().await;
    shop.write("route.yaml", &shop.route("api", "one"));
    let program = shop.run(&[]).await;
    shop.eventually_marked(&program, "api.example", "one").await;
    // A limit of one a day says when the policy is there.
    shop.write("policy.yaml", &policy(THREE_A_DAY));
    program
        .eventually("limits", async |_| {
            shop.ask("api.example").await.is_ok_and(|it| it.status == StatusCode::TOO_MANY_REQUESTS)
        })
        .await;
    shop.write("policy.yaml", &manifest);
    shop.eventually_status(&program, "api.example", StatusCode::OK).await;

    let began = tokio::time::Instant::now();
    let counts = output(many, shop.gateway).await;
    let count = |status: &str| -> u64 {
        let line =
            counts.lines().find(|it| it.trim_end().ends_with(status)).unwrap_or_else(|| panic!("{counts}"));
        line.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{counts}"))
    };
    let filled = u64::try_from(began.elapsed().as_millis()).unwrap() / 60;
    let (passed, refused) = (count(" 200"), count(" 429"));
    assert_eq!(passed + refused, 2000, "{counts}");
    assert!((1000..=1001 + filled).contains(&passed), "{counts} in {:?}", began.elapsed());
    assert_eq!(output(another, shop.gateway).await.trim(), "200");
    // The bucket fills by one in 60 ms: one of a few requests in a row is refused.
    let mut said = String::new();
    for _ in 0..100 {
        said = output(&format!("{many} > /dev/null; {told}"), shop.gateway).await.to_lowercase();
        if said.contains("429") {
            break;
        }
    }
    for line in [
        "http/1.1 429",
        "retry-after: 1",
        "ratelimit-policy: \"limit\";q=1000;w=60",
        "ratelimit: \"limit\";r=0;t=1",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}
