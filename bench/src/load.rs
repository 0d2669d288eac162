//! The load: connections that each send a request, wait for the whole answer, and send the next.

use anyhow::{Context, bail, ensure};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What was sent and how long it took.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Answers with status 200.
    pub requests: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// One in sixteen latencies, sorted.
    pub latencies: Vec<Duration>,
}

/// Keeps `connections` busy for `duration`.
pub async fn run(
    target: SocketAddr,
    host: &str,
    connections: usize,
    duration: Duration,
) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let deadline = start + duration;
    let request: std::rc::Rc<[u8]> = format!(
        "GET /shelf/fiction?page=2 HTTP/1.1\r\nhost: {host}\r\nuser-agent: bench\r\naccept: */*\r\n\r\n"
    )
    .into_bytes()
    .into();
    let mut tasks = Vec::new();
    for _ in 0..connections {
        tasks.push(tokio::task::spawn_local(converse(target, request.clone(), deadline)));
    }
    let mut outcome = Outcome::default();
    for task in tasks {
        let (requests, latencies) = task.await??;
        outcome.requests += requests;
        outcome.latencies.extend(latencies);
    }
    outcome.elapsed = start.elapsed();
    outcome.latencies.sort_unstable();
    Ok(outcome)
}

async fn converse(
    target: SocketAddr,
    request: std::rc::Rc<[u8]>,
    deadline: Instant,
) -> anyhow::Result<(u64, Vec<Duration>)> {
    let mut stream = TcpStream::connect(target).await.context("connect to the contender")?;
    stream.set_nodelay(true)?;
    let (mut count, mut latencies) = (0, Vec::new());
    let mut buffer = Vec::with_capacity(4096);
    while Instant::now() < deadline {
        let sent = Instant::now();
        stream.write_all(&request).await?;
        read_answer(&mut stream, &mut buffer).await?;
        if count % 16 == 0 {
            latencies.push(sent.elapsed());
        }
        count += 1;
    }
    Ok((count, latencies))
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    loop {
        if let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = std::str::from_utf8(buffer.get(..head).unwrap_or_default())?;
            ensure!(text.starts_with("HTTP/1.1 200"), "the contender answered: {text}");
            let length: usize = text
                .lines()
                .find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
                })
                .context("the answer has no content-length")?;
            let end = head + 4 + length;
            if buffer.len() >= end {
                buffer.drain(..end);
                return Ok(());
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            bail!("the contender closed the connection");
        }
    }
}
