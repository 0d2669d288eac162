//! From a source to the hub: a watched directory (here), or a cluster ([`ClusterPipeline`]).

mod cluster;

pub use cluster::ClusterPipeline;

use crate::compile::{AddressPool, Capture, CompileSettings, Compiler, Output};
use crate::diagnostic::{Diagnostic, Severity};
use crate::metrics::Compiling;
use crate::provision::Proxy;
use crate::resources::{Edit, ObjectRef};
use crate::serve::{Hub, ProxyState};
use crate::source::{
    Batch, CertificatePeriods, Completion, Directory, DirectoryOptions, LastGood, Standalone, WatchError,
    read_once,
};
use crate::status::ObjectStatus;
use crate::status::delivery::{self, Programming, Refusals};
use fairway_config::model::Generation;
use fairway_identity::TrustDomain;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::Instant;
use tracing::{Span, error, field, info, info_span, warn};

/// How a directory becomes a configuration.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What compiling has to know beside the objects.
    pub compile: CompileSettings,
    /// What is filled in that a cluster would fill in.
    pub completion: Completion,
}

/// From a watched directory to the hub.
#[derive(Debug)]
pub struct Pipeline {
    directory: Directory,
    standalone: Standalone,
    last_good: LastGood,
    certificates: CertificatePeriods,
    compiler: Compiler,
    hub: Arc<Hub>,
    shown: Compiling,
}

/// Where things stand after a change.
#[derive(Clone, Debug, Default)]
pub struct PipelineState {
    /// The generation in which the hub sends this out.
    pub generation: Generation,
    /// The proxies that are wanted.
    pub proxies: Vec<Proxy>,
    /// What is wrong with files.
    pub file_problems: Vec<Diagnostic>,
    /// What is wrong with objects.
    pub problems: Vec<Diagnostic>,
    /// The status of every object that has one.
    pub statuses: BTreeMap<ObjectRef, ObjectStatus>,
}

// === impl Rules ===

impl Rules {
    /// On a machine whose pods are captured; Services get addresses that are nobody else's.
    pub fn captured(trust_domain: TrustDomain, services: AddressPool) -> Self {
        let compile = CompileSettings { capture: Capture::On, ..CompileSettings::standalone(trust_domain) };
        let completion = Completion { services, ..Completion::for_settings(&compile) };
        Self { compile, completion }
    }

    /// On a machine without capture; Services are reached at loopback addresses.
    pub fn uncaptured(trust_domain: TrustDomain) -> Self {
        let compile = CompileSettings::standalone(trust_domain);
        let completion = Completion::for_settings(&compile);
        Self { compile, completion }
    }

    /// What a directory amounts to now.
    pub fn compile_once(&self, directory: &Path) -> Result<Compiler, WatchError> {
        let (_, batch) = read_once(directory)?;
        let mut standalone = Standalone::new(self.completion.clone());
        let mut compiler = Compiler::new(self.compile.clone());
        let mut edits = standalone.complete(batch.edits);
        CertificatePeriods::default().carry(&mut edits, SystemTime::now());
        compiler.apply(edits);
        Ok(compiler)
    }
}

// === impl PipelineState ===

impl PipelineState {
    /// For an admin page: every object's conditions, and what is wrong; also what proxies say of it, such as a listener whose
    /// port somebody else has.
    pub fn describe(&self, proxies: &[ProxyState]) -> serde_json::Value {
        let refusals = Refusals::from_deliveries(&delivery::deliveries(proxies));
        let statuses = self.statuses.iter().map(|(object, status)| {
            let mut shown = json!(status);
            delivery::apply(&mut shown, object, &Programming::InForce, &refusals);
            (object.to_string(), shown)
        });
        let problems = self.problems.iter().map(ToString::to_string).chain(refusals.messages());
        json!({
            "generation": self.generation.0,
            "objects": statuses.collect::<serde_json::Map<_, _>>(),
            "problems": problems.collect::<Vec<_>>(),
            "files": self.file_problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

// === impl Pipeline ===

impl Pipeline {
    /// Begins to watch a directory. Fails if it cannot be listed.
    pub fn open(directory: &Path, rules: Rules, hub: Arc<Hub>) -> Result<Self, WatchError> {
        Ok(Self {
            directory: Directory::watch(directory, DirectoryOptions::default())?,
            standalone: Standalone::new(rules.completion),
            last_good: LastGood::default(),
            certificates: CertificatePeriods::default(),
            compiler: Compiler::new(rules.compile),
            hub,
            shown: Compiling::default(),
        })
    }

    /// What compiling shows of itself.
    pub fn shown(&self) -> Compiling {
        self.shown.clone()
    }

    /// What was made of the directory so far.
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// Waits for the next change and carries it to the hub. The first is everything there is. None when the directory
    /// cannot be looked at any more.
    pub async fn advance(&mut self) -> Option<PipelineState> {
        let deadline = self.certificates.deadline(SystemTime::now());
        let batch = self.directory.next_batch_until(deadline).await?;
        Some(change_span(&batch.edits).in_scope(|| self.carry(batch)))
    }

    /// Carries a change to the hub.
    fn carry(&mut self, batch: Batch) -> PipelineState {
        for problem in &batch.problems {
            warn!("{problem}");
        }
        if batch.problems.iter().any(|it| it.severity == Severity::Error) {
            warn!("what is wrong stays as it was last good; everything else takes effect");
        }
        let mut edits = self.standalone.complete(batch.edits);
        self.last_good.carry(&mut edits);
        let now = SystemTime::now();
        self.certificates.carry(&mut edits, now);
        edits.extend(self.certificates.take_due(now));
        let began = Instant::now();
        let output = self.compiler.apply(edits);
        let problems = batch.problems.len() + self.compiler.problems().count();
        self.shown.compiled(began.elapsed(), self.compiler.objects(), problems);
        report(&output);
        let (upserted, removed) = (output.upserts.len(), output.removals.len());
        let generation = self.hub.commit(output.upserts, output.removals);
        Span::current().record("generation", generation.0);
        info!(%generation, upserted, removed, "committed");
        PipelineState {
            generation,
            proxies: self.compiler.proxies().cloned().collect(),
            file_problems: batch.problems,
            problems: self.compiler.problems().cloned().collect(),
            statuses: self
                .compiler
                .statuses()
                .map(|(object, status)| (object.clone(), status.clone()))
                .collect(),
        }
    }
}

/// The span of a change on its way from the source to the commit: the object, or how many there are if it is more than one;
/// the generation is recorded by the commit.
fn change_span(edits: &[Edit]) -> Span {
    let span = info_span!("change", object = field::Empty, objects = edits.len(), generation = field::Empty);
    if let [edit] = edits {
        span.record("object", field::display(edit.object()));
    }
    span
}

fn report(output: &Output) {
    for fault in &output.faults {
        error!("an error in Fairway, please report it: {fault}");
    }
    for problem in output.problems.iter().flat_map(|(_, problems)| problems) {
        match problem.severity {
            Severity::Error => error!("{problem}"),
            Severity::Warning => warn!("{problem}"),
            Severity::Note => info!("{problem}"),
        }
    }
}
