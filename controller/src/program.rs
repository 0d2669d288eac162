//! The controller as a program: objects in, configuration and identities out, over gRPC. The objects are those of a
//! watched directory or of a cluster.

mod directory;
mod kubernetes;

use crate::ca;
use crate::serve::States;
use fairway_identity::TrustDomain;
use fairway_runtime::settings::{AdminSettings, DrainSettings, LogSettings, parse_duration};
pub(crate) use kubernetes::told_rights;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Compiles Gateway API objects and serves each proxy what it needs: configuration and identities
#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub struct Arguments {
    /// Read a directory of Kubernetes YAML; it is watched
    #[arg(long, env = "FAIRWAY_SOURCE_DIRECTORY", value_name = "DIR", group = "source")]
    source_directory: Option<PathBuf>,

    /// Read the cluster this runs in (or that of KUBECONFIG), write status into it, and run its proxies
    #[arg(long, group = "source")]
    kubernetes: bool,

    /// Where proxies are served: unix:///path for a directory (only programs of the same user are let in), IP:PORT for a
    /// cluster [default: unix:///run/fairway/controller.sock or 0.0.0.0:15010]
    #[arg(long, env = "FAIRWAY_LISTEN", value_name = "ADDRESS")]
    listen: Option<String>,

    /// The domain of the mesh's identities: spiffe://DOMAIN/ns/…/sa/…
    #[arg(long, env = "FAIRWAY_TRUST_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: TrustDomain,

    /// How long a certificate is valid; it is renewed at half of that
    #[arg(long, env = "FAIRWAY_CERTIFICATE_LIFETIME", default_value = "24h", value_name = "TIME", value_parser = parse_duration)]
    certificate_lifetime: Duration,

    /// How long a new root is trusted before it signs: longer than a proxy goes without hearing of it
    #[arg(long, env = "FAIRWAY_ROOT_OVERLAP", default_value = "1h", value_name = "TIME", value_parser = parse_duration)]
    root_overlap: Duration,

    #[command(flatten)]
    directory: directory::DirectoryArguments,
    #[command(flatten)]
    cluster: kubernetes::ClusterArguments,
    #[command(flatten)]
    drain: DrainSettings,
    #[command(flatten)]
    admin: AdminSettings,
    #[command(flatten)]
    log: LogSettings,
}

impl Arguments {
    fn authority(&self) -> ca::Settings {
        ca::Settings {
            lifetime: self.certificate_lifetime,
            overlap: self.root_overlap,
            ..ca::Settings::default()
        }
    }
}

/// Runs until a signal.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.source_directory.clone() {
        Some(source) => directory::run(arguments, &source).await,
        None => kubernetes::run(arguments).await,
    }
}

fn describe_proxies(states: &Mutex<States>) -> serde_json::Value {
    let states = states.lock().unwrap_or_else(PoisonError::into_inner).get();
    let described = states.iter().map(|state| {
        json!({
            "proxy": state.proxy.to_string(),
            "version": &*state.version,
            "acknowledged": state.acked.0,
            "rejected": state.rejected.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    described.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command};

    fn parse(arguments: &[&str]) -> Result<clap::ArgMatches, clap::Error> {
        let command = Arguments::augment_args(Command::new("fairway-controller"));
        command.try_get_matches_from([&["fairway-controller"], arguments].concat())
    }

    #[test]
    fn the_objects_come_from_one_place() {
        Arguments::augment_args(Command::new("fairway-controller")).debug_assert();
        for (arguments, right) in [
            (&["--source-directory", "x"][..], true),
            (&["--kubernetes"], true),
            (&[], false),
            (&["--kubernetes", "--source-directory", "x"], false),
        ] {
            assert_eq!(parse(arguments).is_ok(), right, "{arguments:?}");
        }
    }
}
