//! The clients in the pods: those that stop reading, those that download, and those whose time is taken.

use anyhow::{Context, bail, ensure};
use fairway_testbed::Pod;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};

/// A client's pod and the address that it asks: through the mesh or beside it.
#[derive(Clone, Debug)]
pub struct Way {
    /// Where the client runs.
    pub pod: Arc<Pod>,
    /// Whom it connects to.
    pub address: SocketAddr,
    /// In the Host header.
    pub host: &'static str,
}

/// What others do meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Downloads that are not read any more.
    pub stalled: usize,
    /// What each of those has read before.
    pub read_before: usize,
    /// Downloads that go on.
    pub bulk: usize,
    /// Clients that connect, ask and close, again and again.
    pub churn: usize,
}

/// A load that goes on until this is dropped.
pub struct Running {
    _stop: oneshot::Sender<()>,
}

/// More than anybody reads.
const ENDLESS: u64 = 1 << 50;
/// What a kernel keeps for a client that does not read.
const STALLED_BUFFER: u32 = 64 << 10;
/// The longest that anything may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The body of a request whose time is taken.
const SMALL: u64 = 1024;

impl Load {
    /// A name for it.
    pub fn name(&self) -> String {
        let parts = [(self.stalled, "stalled"), (self.bulk, "bulk"), (self.churn, "churn")];
        let words: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if words.is_empty() { "without".to_owned() } else { words.join(", ") }
    }

    /// Starts it; returns once all of it is there.
    pub async fn start(self, way: &Way) -> anyhow::Result<Running> {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let way = way.clone();
        tokio::spawn(async move {
            let pod = way.pod.clone();
            let running = pod.run(async move || {
                let begun = self.begin(&way).await;
                let (held, outcome) = match begun {
                    Ok(held) => (held, Ok(())),
                    Err(error) => (Vec::new(), Err(error)),
                };
                let _ = ready.send(outcome);
                let _: Result<(), _> = stopped.await;
                drop(held);
            });
            let _ = running.await;
        });
        is_ready.await.context("the clients' thread has ended")??;
        Ok(Running { _stop: stop })
    }

    async fn begin(self, way: &Way) -> anyhow::Result<Vec<TcpStream>> {
        let mut stalled = Vec::with_capacity(self.stalled);
        for number in 0..self.stalled {
            let opened = timeout(LIMIT, stall(way, self.read_before)).await;
            stalled.push(opened.with_context(|| format!("the stalled download {number} does not begin"))??);
        }
        for _ in 0..self.bulk {
            let (mut stream, _) = ask(way, ENDLESS, None).await?;
            spawn_local(async move {
                let mut buffer = vec![0; 256 << 10];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            });
        }
        for _ in 0..self.churn {
            let way = way.clone();
            spawn_local(async move {
                loop {
                    // Out of ports for a moment: that is what it is about.
                    if exchange(&way).await.is_err() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            });
        }
        Ok(stalled)
    }
}

impl Way {
    /// Bytes a second over so many downloads at once.
    pub async fn throughput(&self, connections: usize, duration: Duration) -> anyhow::Result<f64> {
        let way = self.clone();
        let measured = self.pod.run(async move || {
            let mut downloads = Vec::new();
            for _ in 0..connections {
                downloads
                    .push(timeout(LIMIT, ask(&way, ENDLESS, None)).await.context("no answer in time")??.0);
            }
            // Windows grow first.
            let begins = Instant::now() + duration / 5;
            let ends = begins + duration;
            let reading = downloads.into_iter().map(|mut stream| {
                spawn_local(async move {
                    let (mut buffer, mut total) = (vec![0; 256 << 10], 0_u64);
                    while let Ok(Ok(read)) = tokio::time::timeout_at(ends, stream.read(&mut buffer)).await {
                        ensure!(read > 0, "a download ended");
                        if Instant::now() >= begins {
                            total += read as u64;
                        }
                    }
                    anyhow::Ok(total)
                })
            });
            let mut total = 0;
            for task in reading.collect::<Vec<_>>() {
                total += task.await??;
            }
            anyhow::Ok(total as f64 / duration.as_secs_f64())
        });
        measured.await?
    }

    /// How long so many requests take, one after the other, each on a connection of its own; sorted.
    pub async fn latencies(&self, count: usize) -> anyhow::Result<Vec<Duration>> {
        let way = self.clone();
        let measured = self.pod.run(async move || {
            let mut took = Vec::with_capacity(count);
            for number in 0..count {
                let start = Instant::now();
                timeout(LIMIT, exchange(&way))
                    .await
                    .with_context(|| format!("request {number} has no answer after {LIMIT:?}"))??;
                took.push(start.elapsed());
            }
            took.sort_unstable();
            anyhow::Ok(took)
        });
        measured.await?
    }
}

/// Sends a request; gives the connection, and what of the body came with the head.
async fn ask(way: &Way, bytes: u64, buffer: Option<u32>) -> anyhow::Result<(TcpStream, usize)> {
    let socket = TcpSocket::new_v4()?;
    if let Some(buffer) = buffer {
        socket.set_recv_buffer_size(buffer)?;
    }
    let mut stream = socket.connect(way.address).await.context("connect")?;
    stream.set_nodelay(true)?;
    let request = format!("GET /bytes/{bytes} HTTP/1.1\r\nhost: {}\r\n\r\n", way.host);
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::with_capacity(4096);
    loop {
        if let Some(head) = read.windows(4).position(|it| it == b"\r\n\r\n") {
            ensure!(read.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&read));
            return Ok((stream, read.len() - head - 4));
        }
        if stream.read_buf(&mut read).await? == 0 {
            bail!("the connection ended before an answer: {}", String::from_utf8_lossy(&read));
        }
    }
}

async fn exchange(way: &Way) -> anyhow::Result<()> {
    let (mut stream, mut read) = ask(way, SMALL, None).await?;
    let mut buffer = [0; SMALL as usize];
    while read < buffer.len() {
        let more = stream.read(&mut buffer).await?;
        ensure!(more > 0, "the answer is cut short");
        read += more;
    }
    Ok(())
}

async fn stall(way: &Way, read_before: usize) -> anyhow::Result<TcpStream> {
    // What reads quickly at first has the buffer of one that does.
    let buffer = if read_before == 0 { Some(STALLED_BUFFER) } else { None };
    let (mut stream, mut read) = ask(way, ENDLESS, buffer).await?;
    let mut buffer = vec![0; 256 << 10];
    while read < read_before {
        let more = stream.read(&mut buffer).await?;
        ensure!(more > 0, "a download ended");
        read += more;
    }
    Ok(stream)
}
