//! The checks of a cluster that was read. Pure.

mod definitions;
mod labels;
mod membership;
mod nodes;
mod objects;
mod policies;
mod probes;
mod programs;
mod server;

pub use objects::{NotCompiled, compile_snapshot};

use super::report::{Category, ClusterReport};
use super::snapshot::Snapshot;

/// Checks a cluster that was read.
pub fn check_snapshot(snapshot: &Snapshot) -> ClusterReport {
    let compiled = objects::compile(snapshot);
    let mut mesh = membership::check(snapshot, &compiled);
    mesh.append(policies::check(snapshot));
    mesh.append(probes::check(snapshot));
    let categories = vec![
        Category::new("Kubernetes", server::check(snapshot)),
        Category::new("Gateway API", definitions::check(snapshot)),
        Category::new("Nodes", nodes::check(snapshot)),
        Category::new("Fairway", programs::check(snapshot)),
        Category::new("Mesh", mesh),
        Category::new("Configuration", objects::check(snapshot, &compiled)),
    ];
    ClusterReport::new(&snapshot.address, snapshot.installation().is_some(), categories)
}

/// A version: its first two numbers, of `v1.34.1-gke.5` or `6.1.0-18-amd64`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim_start_matches('v').split(|it: char| !it.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
