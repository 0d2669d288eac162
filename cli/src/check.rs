//! `fairway check`: what a directory amounts to, without running anything.

use fairway_controller::check;
use fairway_controller::pipeline::Rules;
use fairway_identity::TrustDomain;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Says what a cluster would say of a directory of Kubernetes YAML
///
/// Every object's conditions, every problem, and what to do about it. Ends with 1 if something that was asked for would not be
/// done. Runs nothing.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The directory.
    directory: PathBuf,
    /// For people, or for machines.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// The domain of the mesh's identities.
    #[arg(long, default_value = "cluster.local")]
    trust_domain: TrustDomain,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Checks and prints.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // As in a cluster: the pods of labelled namespaces are captured.
    let rules = Rules::captured(arguments.trust_domain, "10.96.0.0/16".parse()?);
    let report = check::check(&arguments.directory, rules.compile)?;
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Text if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() => {
            print!("{}", colour(&report.to_string()));
        }
        Output::Text => print!("{report}"),
    }
    Ok(if report.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Makes good news green and bad news red; the text says the same without.
fn colour(text: &str) -> String {
    let paint = |line: &str| {
        let trimmed = line.trim_start();
        match trimmed.split_whitespace().next() {
            Some("✓" | "ok") => format!("\x1b[32m{line}\x1b[0m"),
            Some("✗" | "error" | "error:") => format!("\x1b[31m{line}\x1b[0m"),
            Some("!" | "warning" | "warning:") => format!("\x1b[33m{line}\x1b[0m"),
            _ => line.to_owned(),
        }
    };
    text.lines().map(|line| paint(line) + "\n").collect()
}
