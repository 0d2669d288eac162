//! The program `fairway-cni`: the CNI plugin, and with `install` what installs it.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use fairway_ztunnel::cni::{install, plugin};
use std::io::{Read, Write};
use std::process::ExitCode;

/// The CNI plugin of Fairway's mesh. A container runtime runs it with CNI_COMMAND in its environment
#[derive(Parser)]
#[command(name = "fairway-cni", version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs the plugin on this node and keeps it installed, until a signal
    Install(install::Arguments),
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if std::env::var_os("CNI_COMMAND").is_none() {
        let Command::Install(arguments) = Program::parse().command;
        return runtime.block_on(install::run(arguments));
    }
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let answer = runtime.block_on(plugin::run(|name| std::env::var(name).ok(), &input));
    std::io::stdout().write_all(answer.text.as_bytes())?;
    Ok(if answer.success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
