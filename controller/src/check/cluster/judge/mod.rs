//! What is to be said of a cluster that was looked at. Pure.

mod definitions;
mod membership;
mod nodes;
mod objects;
mod policies;
mod probes;
mod programs;
mod server;
mod words;

use super::picture::Picture;
use super::report::{Chapter, ClusterReport};

/// Judges what was seen.
pub fn judge(picture: &Picture) -> ClusterReport {
    let compiled = objects::compile(picture);
    let chapters = vec![
        Chapter::new("Kubernetes", server::judge(picture)),
        Chapter::new("Gateway API", definitions::judge(picture)),
        Chapter::new("Nodes", nodes::judge(picture)),
        Chapter::new("Fairway", programs::judge(picture)),
        Chapter::new(
            "Mesh",
            [membership::judge(picture, &compiled), policies::judge(picture), probes::judge(picture)]
                .concat(),
        ),
        Chapter::new("Configuration", objects::judge(picture, &compiled)),
    ];
    ClusterReport::new(&picture.address, picture.installation().is_some(), chapters)
}

/// A version: its first two numbers, of `v1.34.1-gke.5` or `6.1.0-18-amd64`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim_start_matches('v').split(|it: char| !it.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
