//! Fairway's own programs, each a process of its own as in a cluster.

use anyhow::Context;
use fairway_testbed::Pod;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

/// The longest that a program may take to end: its drain, and a little.
const LAST_WORDS: Duration = Duration::from_secs(35);

/// The programs that run. Dropped, they are killed.
#[derive(Debug)]
pub struct Programs {
    executable: PathBuf,
    logs: PathBuf,
    running: Vec<Program>,
}

#[derive(Debug)]
struct Program {
    name: String,
    process: Child,
}

// === impl Programs ===

impl Programs {
    /// No program runs yet; each one writes a log of its own into `logs`.
    pub fn new(executable: &Path, logs: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
        Ok(Self { executable: executable.to_owned(), logs, running: Vec::new() })
    }

    /// A command that runs `fairway` with these arguments and writes to this log.
    pub fn command(&self, log: &str, arguments: &[String]) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.executable);
        let log = self.open_log(log)?;
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .kill_on_drop(true);
        Ok(command)
    }

    /// Starts one, in a pod or on the node.
    pub async fn start(&mut self, name: &str, arguments: &[String], pod: Option<&Pod>) -> anyhow::Result<()> {
        let mut command = self.command(name, arguments)?;
        let process = match pod {
            Some(pod) => pod.spawn(command).await?,
            None => command.spawn().with_context(|| format!("start {name}"))?,
        };
        self.running.push(Program { name: name.to_owned(), process });
        Ok(())
    }

    /// Whether one has ended that nobody ended, and which.
    pub fn ended_program(&mut self) -> Option<String> {
        let logs = &self.logs;
        self.running.iter_mut().find_map(|program| {
            let status = program.process.try_wait().ok()??;
            Some(format!(
                "{} ended: {status}; its log is {}",
                program.name,
                log_of(logs, &program.name).display()
            ))
        })
    }

    /// Sends one of them SIGTERM, as the kubelet does.
    pub fn terminate(&mut self, name: &str) -> anyhow::Result<()> {
        let id = self.find(name)?.process.id().context("it has ended")?;
        let pid = Pid::from_raw(id.cast_signed()).context("no process has number 0")?;
        kill_process(pid, Signal::TERM).with_context(|| format!("signal {name}"))
    }

    /// Waits until one of them has ended, and forgets it.
    pub async fn ended(&mut self, name: &str) -> anyhow::Result<ExitStatus> {
        let waiting = tokio::time::timeout(LAST_WORDS, self.find(name)?.process.wait()).await;
        let status = waiting.with_context(|| format!("{name} has not ended in {LAST_WORDS:?}"))??;
        self.running.retain(|it| it.name != name);
        Ok(status)
    }

    /// Kills one of them, as a crash would.
    pub async fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        self.find(name)?.process.kill().await.with_context(|| format!("kill {name}"))?;
        self.running.retain(|it| it.name != name);
        Ok(())
    }

    /// Where one of them logs.
    pub fn log(&self, name: &str) -> PathBuf {
        log_of(&self.logs, name)
    }

    fn find(&mut self, name: &str) -> anyhow::Result<&mut Program> {
        self.running.iter_mut().find(|it| it.name == name).with_context(|| format!("no program {name} runs"))
    }

    fn open_log(&self, name: &str) -> anyhow::Result<File> {
        let path = self.log(name);
        // Who starts again writes on.
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        opened.with_context(|| format!("open {}", path.display()))
    }
}

fn log_of(logs: &Path, name: &str) -> PathBuf {
    logs.join(format!("{name}.log"))
}
