//! The shared Gateway: HTTPS by SNI, routes of two teams, and mTLS from the Gateway on.

use super::client::{Ask, EchoResponse, Session};
use super::environment::Environment;
use super::report::Report;
use anyhow::Context;
use std::net::SocketAddr;

const GATEWAY: &str = "edge/public-fairway";
const SECRET_PATH: &str = "/front-door-51ad";

/// Plays the scene; the client is outside the mesh, as a browser is.
pub async fn play(environment: &Environment, report: &mut Report) {
    report.scene("North-south: one Gateway, two teams, HTTPS by SNI");
    report.note_result(
        "www.bookshop.example is team bookshop's",
        host(environment, "www", "/", "catalog-1").await,
    );
    report.note_result(
        "store.bookshop.example is team storefront's",
        host(environment, "store", "/", "web-1").await,
    );
    report.note_result(
        "its /reviews is bookshop's, by ReferenceGrant",
        host(environment, "store", "/reviews/7", "reviews-v1-1").await,
    );
    report.note_result("header x-canary: always goes to the canary", canary(environment).await);
    report.note_result("a prefix is rewritten", rewrite(environment).await);
    report.note_result("old paths are redirected", redirect(environment).await);
    report.note_result("plain HTTP is redirected to HTTPS", to_https(environment).await);
    report.note_result("the fourth request for the sale is one too many", limited(environment).await);
    report.note_result("a host that nobody has answers 404", host_of_nobody(environment).await);
    report.note_result("from the Gateway on it is mTLS", tunnelled(environment).await);
}

async fn https(environment: &Environment, host: &str, ask: &Ask<'_>) -> anyhow::Result<EchoResponse> {
    let name = format!("{host}.bookshop.example");
    let stream = environment.pod("legacy/till")?.connect(environment.pod_address(GATEWAY, 443)?).await?;
    Session::over_tls(stream, &name).await?.ask(ask).await
}

async fn host(
    environment: &Environment,
    host: &str,
    path: &str,
    expected: &str,
) -> anyhow::Result<(bool, String)> {
    let answer = https(environment, host, &Ask { path, ..Ask::default() }).await?;
    Ok((answer.status.is_success() && answer.pod() == expected, answer.summary()))
}

async fn canary(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let answer =
        https(environment, "www", &Ask { path: "/", headers: &[("x-canary", "always")], body: None }).await?;
    Ok((answer.pod() == "catalog-canary-1", answer.summary()))
}

async fn rewrite(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let answer =
        https(environment, "www", &Ask { path: "/api/catalog/books/7?page=2", ..Ask::default() }).await?;
    let path = answer.echo["path"].as_str().unwrap_or_default();
    let held = answer.pod() == "catalog-1" && path == "/v1/books/7" && answer.echo["query"] == "page=2";
    Ok((held, format!("/api/catalog/books/7 arrived as {path}")))
}

async fn redirect(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let answer = https(environment, "www", &Ask { path: "/books/7", ..Ask::default() }).await?;
    let location = answer.header("location").unwrap_or_default();
    let held = answer.status.as_u16() == 302 && location == "https://www.bookshop.example/catalog/7";
    Ok((held, format!("{} to {location}", answer.status.as_u16())))
}

async fn limited(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = https(environment, "store", &Ask { path: "/sale", ..Ask::default() }).await?;
        statuses.push(answer.status.as_u16());
    }
    // Also while the limit of clients is used up, other pages are there.
    let other = https(environment, "store", &Ask { path: "/", ..Ask::default() }).await?;
    let held = statuses == [200, 200, 200, 429] && other.status.is_success();
    Ok((held, format!("{statuses:?}, another page {}", other.status.as_u16())))
}

async fn to_https(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let till = environment.pod("legacy/till")?;
    let gateway: SocketAddr = environment.pod_address(GATEWAY, 80)?;
    let answer = super::client::get(till, gateway, "www.bookshop.example", "/books?page=2").await?;
    let location = answer.header("location").unwrap_or_default();
    let held = answer.status.as_u16() == 301 && location == "https://www.bookshop.example/books?page=2";
    Ok((held, format!("{} to {location}", answer.status.as_u16())))
}

async fn host_of_nobody(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let answer = https(environment, "nobody", &Ask { path: "/", ..Ask::default() }).await?;
    Ok((answer.status.as_u16() == 404, answer.summary()))
}

async fn tunnelled(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let needle = environment.wire.look_for(SECRET_PATH.as_bytes());
    let answer = https(environment, "www", &Ask { path: SECRET_PATH, ..Ask::default() }).await?;
    environment.wire.settle().await;
    let gateway = environment.pod(GATEWAY)?.address().context("the Gateway has no address")?;
    let peer = answer.echo["peer"].as_str().unwrap_or_default();
    let from_gateway = peer.parse::<SocketAddr>().is_ok_and(|seen| seen.ip() == gateway);
    let arrived = answer.echo["path"] == SECRET_PATH;
    Ok((
        arrived && from_gateway && needle.frames() == 0,
        format!("the pod saw {peer}; {} packets with the path", needle.frames()),
    ))
}
