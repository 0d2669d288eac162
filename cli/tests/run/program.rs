//! `fairway run` as the process that users start, and what it says of itself.

use fairway_echo::client::Client;
use http::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Nothing takes so long even on a busy machine; who waits longer has found a mistake.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// `fairway run` on a directory. It is killed when this is dropped.
pub struct Program {
    child: Child,
    admin: SocketAddr,
    log: PathBuf,
}

impl Program {
    /// Starts it and waits until it says that it is ready.
    pub async fn start(directory: &Path, folder: &Path, flags: &[&str]) -> Self {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().await));
        let log = folder.join("fairway.log");
        let file = std::fs::File::create(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_fairway"))
            .arg("run")
            .arg(directory)
            .args(["--admin-address", &admin.to_string()])
            .args(["--metrics-address", "off", "--readiness-address", "off", "--threads", "2"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let program = Self { child, admin, log };
        program
            .eventually("readiness", async |program| {
                matches!(program.admin("/healthz/ready").await, Some((StatusCode::OK, _)))
            })
            .await;
        program
    }

    /// What an admin page says; None while nobody listens.
    pub async fn admin(&self, page: &str) -> Option<(StatusCode, String)> {
        let mut client = Client::http1(TcpStream::connect(self.admin).await.ok()?).await.ok()?;
        let answer = client.get("localhost", page).await.ok()?;
        Some((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// What is in force.
    pub async fn state(&self) -> Value {
        let (status, text) = self.admin("/state").await.expect("the admin port answers");
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The generation in force.
    pub async fn generation(&self) -> u64 {
        self.state().await["generation"].as_u64().unwrap()
    }

    /// Waits until this holds.
    pub async fn eventually(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !holds(self).await {
            assert!(Instant::now() < deadline, "waited {TIMEOUT:?} for {what}; the log:\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until `/state` names all of these in one line about a file or an object.
    pub async fn eventually_names(&self, parts: &[&str]) {
        self.eventually(&format!("{parts:?} in /state"), async |program| {
            let state = program.state().await;
            let lines = ["files", "problems"].iter().filter_map(|it| state[*it].as_array()).flatten();
            lines.filter_map(Value::as_str).any(|line| parts.iter().all(|part| line.contains(part)))
        })
        .await;
    }

    /// Waits until nothing is wrong.
    pub async fn eventually_content(&self) {
        self.eventually("a state without problems", async |program| {
            let state = program.state().await;
            state["files"] == Value::Array(Vec::new()) && state["problems"] == Value::Array(Vec::new())
        })
        .await;
    }

    /// All that the program has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Sends SIGTERM, as kubelet does.
    pub fn terminate(&self) {
        let id = self.child.id().expect("it still runs");
        kill_process(Pid::from_raw(id.cast_signed()).unwrap(), Signal::TERM).unwrap();
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> ExitStatus {
        match timeout(TIMEOUT, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("still there after {TIMEOUT:?}; the log:\n{}", self.log()),
        }
    }
}

/// A port that nobody listens on.
pub async fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}
