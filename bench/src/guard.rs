//! What one request costs: allocations, and instructions where Valgrind is installed; compared with committed numbers.
//!
//! `fairway-guard` serves fixed scripts through a proxy in memory. Allocations are counted by its allocator and have to be
//! the same. Instructions are counted by Callgrind in two runs that differ in the number of requests only, so that the cost of
//! starting up cancels out; they may differ by 1 %. The figures include the client and the endpoint, which do as little as
//! they can. A new compiler or a new dependency may change them: `--update` writes what is measured, and the difference is
//! reviewed with the change that it comes with.

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

#[derive(clap::Args)]
pub struct Settings {
    /// Writes the numbers instead of comparing with them.
    #[arg(long)]
    update: bool,
    /// The JSON file with the committed numbers; --update overwrites it.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/guard.json"))]
    numbers: PathBuf,
}

const SCRIPTS: [&str; 8] = ["plain", "http2", "body", "filters", "cors", "preflight", "redirect", "no-route"];
/// Requests of the shorter and of the longer run under Callgrind. Starting up costs some 450 million instructions, and a few millions more
/// or less from run to run: so many requests make of that less than a third of a percent.
const RUNS: (u64, u64) = (200, 6200);
/// Percent by which instructions may differ.
const TOLERANCE: f64 = 1.0;

/// What one request costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Cost {
    allocations: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<u64>,
}

pub fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let program = program()?;
    let committed: BTreeMap<String, Cost> = match std::fs::read(&settings.numbers) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| settings.numbers.display().to_string())?,
        Err(_) if settings.update => BTreeMap::new(),
        Err(error) => bail!("{}: {error} (--update writes it)", settings.numbers.display()),
    };
    let has_valgrind = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !has_valgrind {
        ensure!(
            std::env::var_os("CI").is_none(),
            "valgrind is not installed, so nothing holds the instructions"
        );
        eprintln!("valgrind is not installed: only allocations are measured (apt-get install valgrind)");
        ensure!(!settings.update, "without valgrind the committed instructions would be lost");
    }
    let (mut measured, mut is_same) = (BTreeMap::new(), true);
    println!("{:<10} {:>24} {:>34}", "per request", "allocations", "instructions");
    for script in SCRIPTS {
        let cost = Cost {
            allocations: allocations(&program, script)?,
            instructions: has_valgrind.then(|| instructions(&program, script)).transpose()?,
        };
        let verdict = compare(committed.get(script).copied(), cost);
        is_same &= verdict.is_same;
        println!("{script:<10} {:>24} {:>34}", verdict.allocations, verdict.instructions);
        measured.insert(script.to_owned(), cost);
    }
    if settings.update {
        let text = serde_json::to_string_pretty(&measured)? + "\n";
        std::fs::write(&settings.numbers, text)?;
        println!("written to {}", settings.numbers.display());
        return Ok(ExitCode::SUCCESS);
    }
    if is_same {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "A request costs something else than {} says. Find out why; if it has to be so, write the new numbers with --update and say in the commit what they come from.",
        settings.numbers.display()
    );
    Ok(ExitCode::FAILURE)
}

struct Verdict {
    is_same: bool,
    allocations: String,
    instructions: String,
}

fn compare(committed: Option<Cost>, measured: Cost) -> Verdict {
    let Some(committed) = committed else {
        let instructions = measured.instructions.map_or("-".to_owned(), |count| count.to_string());
        return Verdict { is_same: false, allocations: measured.allocations.to_string(), instructions };
    };
    let same_allocations = committed.allocations == measured.allocations;
    let allocations = match same_allocations {
        true => measured.allocations.to_string(),
        false => format!("{} (was {})", measured.allocations, committed.allocations),
    };
    let (same_instructions, instructions) = match (committed.instructions, measured.instructions) {
        (Some(before), Some(now)) => {
            let percent = (now as f64 / before as f64 - 1.0) * 100.0;
            (percent.abs() <= TOLERANCE, format!("{now} (was {before}: {percent:+.2} %)"))
        }
        _ => (true, "-".to_owned()),
    };
    Verdict { is_same: same_allocations && same_instructions, allocations, instructions }
}

/// The program that is measured, built as this one was.
fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("this program is in no folder")?;
    // Started by Cargo, which has built this program only.
    if let Some(cargo) = std::env::var_os("CARGO") {
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let built = Command::new(cargo)
            .args(["build", "--quiet", "-p", "fairway-bench", "--bin", "fairway-guard", "--profile", profile])
            .status()?;
        ensure!(built.success(), "fairway-guard could not be built");
    }
    let program = folder.join("fairway-guard");
    ensure!(
        program.exists(),
        "{} is not there: build it with `cargo build -p fairway-bench`",
        program.display()
    );
    Ok(program)
}

/// Allocations a request. What grows now and then, such as a buffer, is less than one and left out.
fn allocations(program: &Path, script: &str) -> anyhow::Result<u64> {
    const REQUESTS: u64 = 1000;
    let output = Command::new(program).arg(script).args(["--requests", &REQUESTS.to_string()]).output()?;
    ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    let count: u64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok((count + REQUESTS / 2) / REQUESTS)
}

/// Instructions of one request: the difference of two runs, so that start and warm-up do not count.
fn instructions(program: &Path, script: &str) -> anyhow::Result<u64> {
    let (few, many) = RUNS;
    Ok((collected(program, script, many)? - collected(program, script, few)?) / (many - few))
}

/// Instructions of a whole run.
fn collected(program: &Path, script: &str, requests: u64) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .arg(script)
        .args(["--requests", &requests.to_string()])
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script} under Callgrind: {told}");
    let collected = told.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) =
        collected.with_context(|| format!("Callgrind does not say what it collected: {told}"))?;
    Ok(count.trim().parse()?)
}
