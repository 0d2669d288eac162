//! `fairway exec`: runs a command in a pod of a demo that was kept.
//!
//! The demo's namespaces are its own and cannot be entered from outside without privileges; so the command's name goes
//! to the demo over a socket in its folder, and the output comes back.

use super::environment::Environment;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;

/// Runs a command in a pod of a demo that was started with --keep
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The pod to run it in, as namespace/name.
    pod: String,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// The demo's folder, if several are kept.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// A socket's name in the demo's folder.
const SOCKET: &str = "run/exec.sock";
/// The longest request: a command line.
const LONGEST: u64 = 256 * 1024;

#[derive(Serialize, Deserialize)]
struct Request {
    pod: String,
    command: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Outcome {
    output: String,
    errors: String,
    code: u8,
}

/// Takes requests for commands.
pub struct ExecServer(UnixListener);

// === impl ExecServer ===

impl ExecServer {
    /// Listens in the demo's folder, which is its user's alone.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self(UnixListener::bind(folder.join(SOCKET)).context("listen for `fairway exec`")?))
    }

    /// Runs what is asked for, one after the other.
    pub async fn serve(&self, environment: &Environment) -> anyhow::Result<()> {
        loop {
            let (stream, _) = self.0.accept().await?;
            if let Err(error) = answer(environment, stream).await {
                eprintln!("fairway exec: {error:#}");
            }
        }
    }
}

async fn answer(environment: &Environment, mut stream: UnixStream) -> anyhow::Result<()> {
    let mut text = Vec::new();
    (&mut stream).take(LONGEST).read_to_end(&mut text).await?;
    let outcome = match run_in_pod(environment, serde_json::from_slice(&text)?).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome { output: String::new(), errors: format!("{error:#}\n"), code: 127 },
    };
    stream.write_all(&serde_json::to_vec(&outcome)?).await?;
    Ok(())
}

async fn run_in_pod(environment: &Environment, request: Request) -> anyhow::Result<Outcome> {
    let (program, arguments) = request.command.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = environment.pod(&request.pod)?.spawn(command).await?;
    let ended = child.wait_with_output().await?;
    Ok(Outcome {
        output: String::from_utf8_lossy(&ended.stdout).into_owned(),
        errors: String::from_utf8_lossy(&ended.stderr).into_owned(),
        code: ended.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    })
}

/// Asks a demo that was kept to run a command, and prints what the command prints.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let folder = match arguments.folder {
        Some(folder) => folder,
        None => find_demo()?,
    };
    let socket = folder.join(SOCKET);
    let mut stream = UnixStream::connect(&socket).await.with_context(|| {
        format!("no demo listens at {}; start one with `fairway demo --keep`", socket.display())
    })?;
    let request = Request { pod: arguments.pod, command: arguments.command };
    stream.write_all(&serde_json::to_vec(&request)?).await?;
    stream.shutdown().await?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await?;
    let outcome: Outcome = serde_json::from_slice(&text).context("the demo's answer cannot be read")?;
    std::io::stdout().write_all(outcome.output.as_bytes())?;
    std::io::stderr().write_all(outcome.errors.as_bytes())?;
    Ok(ExitCode::from(outcome.code))
}

fn find_demo() -> anyhow::Result<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(std::env::temp_dir())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("fairway-demo-"))
        })
        .filter(|path| path.join(SOCKET).exists())
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => bail!("several demos are kept; say which with --folder"),
        (None, _) => bail!("no demo is kept; start one with `fairway demo --keep`"),
    }
}
