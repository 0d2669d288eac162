//! `fairway check`: what a directory amounts to, without running anything, and how a [`cluster`] is. The same source and the same compile as
//! `fairway run`: there is no second opinion.

pub mod cluster;
mod report;

pub use report::{CheckedObject, Counts, Finding, Report, ShownCondition};

use crate::compile::{Compiler, Settings, Severity};
use crate::source::{CertificatePeriods, Completion, SourceProblem, Standalone, WatchError, read_once};
use std::path::Path;
use std::time::SystemTime;

/// Reads a directory once, compiles it and reports.
pub fn check(directory: &Path, settings: Settings) -> Result<Report, WatchError> {
    let (scan, mut batch) = read_once(directory)?;
    if batch.edits.is_empty() && batch.problems.is_empty() {
        batch.problems.push(nothing(directory));
    }
    let mut standalone = Standalone::new(Completion::of(&settings));
    let mut compiler = Compiler::new(settings);
    let mut edits = standalone.complete(batch.edits);
    CertificatePeriods::default().carry(&mut edits, SystemTime::now());
    compiler.apply(edits);
    Ok(Report::new(directory, &compiler, &scan, batch.problems))
}

/// A path that was mistyped must not pass for a configuration in order.
fn nothing(directory: &Path) -> SourceProblem {
    SourceProblem {
        severity: Severity::Error,
        file: directory.to_owned(),
        line: 0,
        object: String::new(),
        field: String::new(),
        message: "holds no Kubernetes objects".to_owned(),
        remedy: "give the directory of the *.yaml, *.yml or *.json files".to_owned(),
    }
}

#[cfg(test)]
mod tests;
