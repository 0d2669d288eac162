//! Service to service: what HTTPRoutes and a GRPCRoute on Services do to the traffic of pods.

use super::binomial;
use super::client::{self, Ask, Session};
use super::environment::Environment;
use super::report::Report;
use anyhow::Context;
use fairway_echo::proto::EchoRequest;
use std::collections::BTreeMap;

const REQUESTS: u32 = 1000;

/// Sends the traffic of this part and reports what it shows.
pub async fn play(environment: &Environment, report: &mut Report) {
    report.scene("East-west: routes bound to Services");
    report.progress("1,000 requests to the Service reviews");
    report.note_result("1,000 requests split 90/10", split(environment, 0.1).await);
    report.note_result("header x-reader: beta goes to v2", header(environment).await);
    report.note_result("gRPC method ServerStream goes to v2, others to v1", grpc(environment).await);
    report.note_result("the consumer route holds in storefront only", consumer(environment).await);
    report.progress("100 orders, with one of two pods failing every request");
    report.note_result("a retry hides a failing pod", retry(environment).await);
    report.note_result("a request over its 300 ms answers 504", timeout(environment).await);
    report.note_result("every order is mirrored to audit", mirror(environment).await);
}

async fn split(environment: &Environment, share_of_v2: f64) -> anyhow::Result<(bool, String)> {
    let seen = count(environment, REQUESTS).await?;
    let of = |pod: &str| seen.get(pod).copied().unwrap_or(0);
    let (v1, v2) = (of("reviews-v1-1"), of("reviews-v2-1"));
    let allowed = binomial::bounds(REQUESTS, share_of_v2);
    let held = v1 + v2 == REQUESTS && allowed.contains(&v2);
    Ok((held, format!("{v1} v1, {v2} v2 (allowed {}–{})", allowed.start(), allowed.end())))
}

/// Which pods answered how many of the requests.
pub async fn count(environment: &Environment, requests: u32) -> anyhow::Result<BTreeMap<String, u32>> {
    let mut session = Session::open(
        environment.pod("bookshop/reader")?,
        environment.service("bookshop/reviews", 80)?,
        "reviews",
    )
    .await?;
    let mut seen = BTreeMap::new();
    for _ in 0..requests {
        let answer = session.ask(&Ask { path: "/book/7", ..Ask::default() }).await?;
        let who = if answer.status.is_success() { answer.pod().to_owned() } else { answer.summary() };
        *seen.entry(who).or_insert(0) += 1;
    }
    Ok(seen)
}

async fn header(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let mut session = Session::open(
        environment.pod("bookshop/reader")?,
        environment.service("bookshop/reviews", 80)?,
        "reviews",
    )
    .await?;
    let mut right = 0;
    for _ in 0..50 {
        let answer = session.ask(&Ask { path: "/", headers: &[("x-reader", "beta")], body: None }).await?;
        right += u32::from(answer.pod() == "reviews-v2-1");
    }
    Ok((right == 50, format!("{right} of 50")))
}

async fn grpc(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let (pod, address) = (environment.pod("bookshop/reader")?, environment.service("bookshop/ratings", 80)?);
    let mut client = fairway_echo::client::grpc(pod.connect(address).await?, "ratings").await?;
    let said = EchoRequest { message: "five stars".to_owned(), count: 3, ..EchoRequest::default() };
    let unary = client.unary(said.clone()).await.context("Unary")?.into_inner().pod;
    let mut stream = client.server_stream(said).await.context("ServerStream")?.into_inner();
    let mut streamed = Vec::new();
    while let Some(answer) = stream.message().await.context("ServerStream")? {
        streamed.push(answer.pod);
    }
    let right = unary == "ratings-v1-1" && streamed == ["ratings-v2-1"; 3];
    let stream_pod = streamed.first().map_or("nobody", String::as_str);
    Ok((right, format!("Unary at {unary}, {} messages of ServerStream from {stream_pod}", streamed.len())))
}

async fn consumer(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let reviews = environment.service("bookshop/reviews", 80)?;
    let mut of_storefront = Session::open(environment.pod("storefront/web-1")?, reviews, "reviews").await?;
    let mut of_bookshop = Session::open(environment.pod("bookshop/reader")?, reviews, "reviews").await?;
    let (mut marked, mut unmarked) = (0, 0);
    for _ in 0..50 {
        let answer = of_storefront.ask(&Ask { path: "/", ..Ask::default() }).await?;
        marked +=
            u32::from(answer.header("x-routed-by") == Some("storefront") && answer.pod() == "reviews-v2-1");
        let answer = of_bookshop.ask(&Ask { path: "/", ..Ask::default() }).await?;
        unmarked += u32::from(answer.status.is_success() && answer.header("x-routed-by").is_none());
    }
    Ok((
        marked == 50 && unmarked == 50,
        format!("{marked} of 50 from storefront, {} of 50 from bookshop", 50 - unmarked),
    ))
}

async fn retry(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let mut session = Session::open(
        environment.pod("bookshop/reader")?,
        environment.service("bookshop/orders", 80)?,
        "orders",
    )
    .await?;
    let mut good = 0;
    for _ in 0..100 {
        let answer = session.ask(&Ask { path: "/order", headers: &[], body: Some("one book") }).await?;
        good += u32::from(answer.status.is_success());
    }
    let direct = client::get(
        environment.pod("bookshop/reader")?,
        environment.pod_address("bookshop/orders-2", 8080)?,
        "orders-2",
        "/order",
    )
    .await?;
    Ok((
        good == 100 && direct.status.as_u16() == 503,
        format!("{good} of 100 good; the bad pod alone answers {}", direct.status.as_u16()),
    ))
}

async fn timeout(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let started = tokio::time::Instant::now();
    let answer = client::get(
        environment.pod("bookshop/reader")?,
        environment.service("bookshop/reviews", 80)?,
        "reviews",
        "/slow/page?delay=5s",
    )
    .await?;
    let took = started.elapsed();
    let held = answer.status.as_u16() == 504 && took.as_millis() < 1500;
    Ok((held, format!("{} after {} ms", answer.status.as_u16(), took.as_millis())))
}

async fn mirror(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let reader = environment.pod("bookshop/reader")?;
    let mut session = Session::open(reader, environment.service("bookshop/orders", 80)?, "orders").await?;
    for number in 0..20 {
        session
            .ask(&Ask { path: &format!("/mirrored/{number}"), headers: &[], body: Some("two books") })
            .await?;
    }
    // A mirror is sent on its own time: ask until all are there, or for a while.
    let audit = environment.service("bookshop/audit", 80)?;
    let mut arrived = 0;
    for _ in 0..50 {
        let seen = client::get(reader, audit, "audit", "/_seen").await?;
        arrived = (0..20).filter(|number| seen.text.contains(&format!("\"/mirrored/{number}\""))).count();
        if arrived == 20 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok((arrived == 20, format!("{arrived} of 20 arrived")))
}
