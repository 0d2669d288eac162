//! `fairway check`: what a directory amounts to, without running anything; and how a cluster is.

mod cluster;

use fairway_controller::check;
use fairway_controller::pipeline::Rules;
use fairway_identity::TrustDomain;
use serde::Serialize;
use std::fmt::Display;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Says whether a cluster is in order, or what a cluster would say of a directory
///
/// Without a directory it looks at the cluster that kubectl talks to: whether Fairway can be installed there, or, when it is,
/// how it is: rights, kinds, nodes, programs, who is in the mesh and who is not, Gateways and routes that do not work. It reads
/// and changes nothing.
///
/// With a directory of Kubernetes YAML it needs no cluster: every object's conditions, and every problem.
///
/// Each result comes with what to do about it. Ends with 1 if there is an error: something that was asked for is not done, or
/// would not be.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// A directory of Kubernetes YAML; without one, the cluster is looked at
    directory: Option<PathBuf>,
    /// For people, or for machines
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Which cluster: a context of the kubeconfig
    #[arg(long, value_name = "NAME", conflicts_with = "directory")]
    context: Option<String>,
    /// Which kubeconfig, instead of KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE", conflicts_with = "directory")]
    kubeconfig: Option<PathBuf>,
    /// The domain of the mesh's identities, for a directory; a cluster says its own
    #[arg(long, default_value = "cluster.local")]
    trust_domain: TrustDomain,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Checks a directory or a cluster and prints the report; the exit code is 1 if there is an error.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { directory, output, context, kubeconfig, trust_domain } = arguments;
    let has_errors = match directory {
        Some(directory) => of_directory(&directory, trust_domain, output)?,
        None => {
            let report = cluster::check_cluster(kubeconfig, context).await?;
            print(&report, output)?;
            report.has_errors()
        }
    };
    Ok(if has_errors { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn of_directory(directory: &Path, trust_domain: TrustDomain, output: Output) -> anyhow::Result<bool> {
    // As in a cluster: the pods of labelled namespaces are captured.
    let rules = Rules::captured(trust_domain, "10.96.0.0/16".parse()?);
    let report = check::check(directory, rules.compile)?;
    print(&report, output)?;
    Ok(report.has_errors())
}

fn print(report: &(impl Serialize + Display), output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(report)?),
        Output::Text if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() => {
            print!("{}", colour(&report.to_string()));
        }
        Output::Text => print!("{report}"),
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command};

    #[test]
    fn a_directory_and_a_cluster_are_not_checked_at_once() {
        let parse = |arguments: &[&str]| {
            let command = Arguments::augment_args(Command::new("check"));
            command.try_get_matches_from([&["check"], arguments].concat())
        };
        for (arguments, right) in [
            (&[][..], true),
            (&["here"], true),
            (&["--context", "test", "--kubeconfig", "file"], true),
            (&["here", "--context", "test"], false),
            (&["here", "--kubeconfig", "file"], false),
        ] {
            assert_eq!(parse(arguments).is_ok(), right, "{arguments:?}");
        }
    }
}
