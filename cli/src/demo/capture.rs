//! Capture and mTLS are real: what servers, wires and outsiders see.

use super::client::{self, Ask, Session};
use super::environment::{Environment, ZTUNNEL_ADMIN};
use super::report::Report;
use anyhow::Context;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Words that travel in a path and in a body, and must not be read on any wire.
const SECRET_PATH: &str = "/secret-shelf-7c1f";
const SECRET_BODY: &str = "the-password-is-9b42";

/// Sends the traffic of this part and reports what it shows.
pub async fn play(environment: &Environment, report: &mut Report) {
    report.scene("Capture and mTLS: plain sockets, nothing plain on the wire");
    report.note_result("the server sees the client's own address", source_address(environment).await);
    report.note_result("no packet shows the path or the body", nothing_plain(environment).await);
    report.note_result("a server that speaks first is heard", server_first(environment).await);
    report.note_result("each side verified the other's SPIFFE id", identities(environment).await);
    report.note_result("a client outside the mesh is served (permissive)", permissive(environment).await);
    report.note_result("and refused where mTLS is strict", strict(environment).await);
    report.note_result("what must use its waypoint cannot be reached around it", required(environment).await);
}

async fn source_address(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let reader = environment.pod("bookshop/reader")?;
    let answer =
        client::get(reader, environment.service("bookshop/catalog", 80)?, "catalog", "/whoami").await?;
    let own = reader.address().context("the reader has no address")?;
    let peer = answer.echo["peer"].as_str().unwrap_or_default().to_owned();
    let held = peer.parse::<std::net::SocketAddr>().is_ok_and(|seen| seen.ip() == own);
    Ok((held, format!("client {own}, seen {peer}")))
}

async fn nothing_plain(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let reader = environment.pod("bookshop/reader")?;
    let (path, body) = (
        environment.wire.look_for(SECRET_PATH.as_bytes()),
        environment.wire.look_for(SECRET_BODY.as_bytes()),
    );
    let before = environment.wire.seen().await.frames;
    let ask = Ask { path: SECRET_PATH, headers: &[], body: Some(SECRET_BODY) };
    let mut through = 0;
    for service in ["catalog", "reviews", "orders"] {
        let address = environment.service(&format!("bookshop/{service}"), 80)?;
        let answer = client::ask_on(reader, address, service, &ask).await?;
        through += u32::from(answer.status.is_success() && answer.text.contains(SECRET_PATH));
    }
    environment.wire.settle().await;
    let seen = environment.wire.seen().await;
    let (paths, bodies) = (path.frames(), body.frames());
    // The counter-proof: the same request from outside the mesh can be read, so the capture does see packets.
    client::ask_on(
        environment.pod("legacy/till")?,
        environment.pod_address("bookshop/catalog-1", 8080)?,
        "catalog",
        &ask,
    )
    .await?;
    environment.wire.settle().await;
    let can_see = path.frames() > paths;
    let held = through == 3 && paths == 0 && bodies == 0 && can_see && seen.dropped == 0;
    let frames = seen.frames - before;
    Ok((
        held,
        format!(
            "{frames} packets, {paths} with the path, {bodies} with the body; from outside it is readable: {can_see}"
        ),
    ))
}

async fn server_first(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let mut stream =
        environment.pod("bookshop/reader")?.connect(environment.service("bookshop/catalog", 9000)?).await?;
    let mut greeting = [0; 64];
    let read = tokio::time::timeout(std::time::Duration::from_secs(5), stream.read(&mut greeting))
        .await
        .context("no greeting in 5 s")??;
    let text = String::from_utf8_lossy(greeting.get(..read).unwrap_or_default()).trim().to_owned();
    Ok((!text.is_empty(), format!("“{text}”")))
}

async fn identities(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let reader = "spiffe://cluster.local/ns/bookshop/sa/reader";
    let catalog = "spiffe://cluster.local/ns/bookshop/sa/catalog";
    // While this connection is open, ztunnel shows both of its ends and what each verified of the other.
    let mut open = Session::open(
        environment.pod("bookshop/reader")?,
        environment.service("bookshop/catalog", 80)?,
        "catalog",
    )
    .await?;
    open.ask(&Ask { path: "/", ..Ask::default() }).await?;
    let node = TcpStream::connect(ZTUNNEL_ADMIN).await.context("ztunnel's admin port")?;
    let shown =
        Session::over(node, "localhost").await?.ask(&Ask { path: "/connections", ..Ask::default() }).await?;
    let connections = shown.echo.as_array().cloned().unwrap_or_default();
    let verified = |direction: &str, local: &str, peer: &str| {
        connections
            .iter()
            .any(|it| it["direction"] == direction && it["local"] == local && it["peer"] == peer)
    };
    let held = verified("outbound", reader, catalog) && verified("inbound", catalog, reader);
    let seen = if held { format!("{} ⇄ {}", short(reader), short(catalog)) } else { shown.text };
    Ok((held, seen))
}

fn short(id: &str) -> &str {
    id.strip_prefix("spiffe://").unwrap_or(id)
}

async fn permissive(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let till = environment.pod("legacy/till")?;
    let answer =
        client::get(till, environment.pod_address("bookshop/catalog-1", 8080)?, "catalog", "/").await?;
    Ok((answer.status.is_success(), format!("catalog: {}", answer.summary())))
}

async fn strict(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let vault = environment.pod_address("bookshop/vault-1", 8080)?;
    let outside = client::get(environment.pod("legacy/till")?, vault, "vault", "/").await;
    let inside = client::get(environment.pod("bookshop/reader")?, vault, "vault", "/").await?;
    let held = outside.is_err() && inside.status.is_success();
    let seen = outside.map_or_else(|_| "refused".to_owned(), |answer| answer.summary());
    Ok((held, format!("vault: from outside {seen}, from the mesh {}", inside.summary())))
}

async fn required(environment: &Environment) -> anyhow::Result<(bool, String)> {
    let reader = environment.pod("bookshop/reader")?;
    let through =
        client::get(reader, environment.service("bookshop/payments", 80)?, "payments", "/pay").await?;
    let around =
        client::get(reader, environment.pod_address("bookshop/payments-1", 8080)?, "payments", "/pay").await;
    let held = through.pod() == "payments-1" && around.is_err();
    let seen = around.map_or_else(|_| "refused".to_owned(), |answer| answer.summary());
    Ok((held, format!("payments: through the waypoint {}, to the pod {seen}", through.summary())))
}
