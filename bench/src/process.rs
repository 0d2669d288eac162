//! A contender's process: started on one processor, asked what it used, ended.

use anyhow::Context;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// A running process; killed when dropped.
pub struct Process {
    child: Child,
    pid: u32,
}

/// Clock ticks a second in /proc (USER_HZ, which Linux fixes at 100 for user space).
const TICKS: f64 = 100.0;

impl Process {
    /// Starts a program on the processors named (`taskset` list syntax) and waits until it accepts on `address`.
    pub async fn start(
        processors: &str,
        program: &str,
        arguments: &[String],
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let child = Command::new("taskset")
            .args(["-c", processors, program])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {program} with taskset"))?;
        let pid = child.id().context("the process has ended")?;
        let mut process = Self { child, pid };
        for _ in 0..200 {
            if let Some(status) = process.child.try_wait()? {
                anyhow::bail!("{program} {arguments:?} ended at once: {status}");
            }
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(process);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("{program} does not accept on {address} after 10 s")
    }

    /// CPU time used so far, user and system, by all threads.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The program's name may hold spaces and parentheses: fields count from the last one.
        let fields: Vec<&str> = stat.rsplit_once(')').context("/proc/stat")?.1.split_whitespace().collect();
        let tick =
            |index: usize| -> anyhow::Result<f64> { Ok(fields.get(index).context("/proc/stat")?.parse()?) };
        Ok(Duration::from_secs_f64((tick(11)? + tick(12)?) / TICKS))
    }

    /// Resident memory now, bytes.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let kib: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .context("VmRSS")?
            .parse()?;
        Ok(kib * 1024)
    }
}
