//! Who is in the mesh, for `kubectl get`: what the tunnels say of their pods, written on the pods.
//!
//! A condition `fairway.dev/Captured` says it with a reason, and can be a readiness gate; a label `fairway.dev/captured` is what
//! `kubectl get pods -L` shows. Both are written through `pods/status` (docs/decisions/0007-who-is-captured.md).

mod plan;
mod service;
mod writer;

pub(crate) use service::CaptureService;
pub(crate) use writer::write;

use fairway_config::capture::PodCapture;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// What the tunnels said last, by node.
pub(crate) type Reports = HashMap<Arc<str>, Arc<[PodCapture]>, ahash::RandomState>;

/// Where it is kept, for the one that leads.
pub(crate) fn reports() -> (Arc<watch::Sender<Reports>>, watch::Receiver<Reports>) {
    let (sender, receiver) = watch::channel(Reports::default());
    (Arc::new(sender), receiver)
}

#[cfg(test)]
pub(crate) use plan::every_message;
