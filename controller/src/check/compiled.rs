//! A directory or a cluster, compiled once: for whoever asks more of it than what is wrong.

use crate::compile::{CompileSettings, Compiler, Proxy};
use crate::diagnostic::Diagnostic;
use crate::resources::Edit;
use crate::serve::scope::{Graph, View, edges};
use crate::source::{CertificatePeriods, Completion, Standalone, WatchError, read_once};
use fairway_config::model::Resource;
use fairway_config::stream;
use fairway_config::{Delta, Snapshot};
use std::path::Path;
use std::time::SystemTime;

/// What a directory or a cluster amounts to.
#[derive(Debug)]
pub struct Compiled {
    compiler: Compiler,
    unread: Vec<Diagnostic>,
    graph: Graph,
    has_secrets: bool,
}

// === impl Compiled ===

impl Compiled {
    /// Reads a directory and compiles it. What a cluster would fill in is filled in.
    pub fn of_directory(
        directory: &Path,
        settings: CompileSettings,
        completion: Completion,
    ) -> Result<Self, WatchError> {
        let (_, batch) = read_once(directory)?;
        let mut edits = Standalone::new(completion).complete(batch.edits);
        CertificatePeriods::default().carry(&mut edits, SystemTime::now());
        Ok(Self::of_edits(edits, batch.problems, settings))
    }

    /// Compiles these objects. `unread` is what is wrong with those that could not be read.
    pub(super) fn of_edits(edits: Vec<Edit>, unread: Vec<Diagnostic>, settings: CompileSettings) -> Self {
        let mut compiler = Compiler::new(settings);
        compiler.apply(edits);
        let mut graph = Graph::default();
        for (_, resource) in compiler.resources() {
            edges(resource).iter().for_each(|edge| graph.add(edge));
        }
        Self { compiler, unread, graph, has_secrets: true }
    }

    pub(super) fn with_secrets(self, has_secrets: bool) -> Self {
        Self { has_secrets, ..self }
    }

    /// Whether Secrets could be read. Without them listeners that end TLS are closed here, and may not be there.
    pub fn has_secrets(&self) -> bool {
        self.has_secrets
    }

    /// The configuration that a proxy, or the tunnel of a node, would be sent.
    pub fn configuration(&self, proxy: &stream::Proxy) -> Snapshot {
        let view = View::new(proxy.clone(), &self.graph);
        let wanted = self.compiler.resources().filter(|(key, _)| view.wants(key));
        let upserts: Vec<Resource> = wanted.map(|(_, resource)| resource.clone()).collect();
        Snapshot::default().apply(Delta { upserts, ..Delta::default() }).0
    }

    /// The proxies that are wanted, by name.
    pub fn proxies(&self) -> Vec<Proxy> {
        self.compiler.wanted().proxies
    }

    /// What is wrong, with files first.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.unread.iter().chain(self.compiler.problems())
    }
}
