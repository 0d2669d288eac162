//! `fairway check`: what a directory amounts to, without running anything, and how a [`cluster`] is. The same source and the same compile as
//! `fairway run`: there is no second opinion.

pub mod cluster;
mod compiled;
mod endpoints;
mod report;

pub use compiled::Compiled;
pub use report::{CheckedObject, Counts, Report, ShownCondition};

use crate::compile::{CompileSettings, Compiler};
use crate::diagnostic::{Diagnostic, Reason};
use crate::source::{CertificatePeriods, Completion, Standalone, WatchError, read_once};
use std::path::Path;
use std::time::SystemTime;

/// Reads a directory once, compiles it and reports.
pub fn check(directory: &Path, settings: CompileSettings) -> Result<Report, WatchError> {
    let (scan, mut batch) = read_once(directory)?;
    if batch.edits.is_empty() && batch.problems.is_empty() {
        batch.problems.push(nothing(directory));
    }
    let mut standalone = Standalone::new(Completion::for_settings(&settings));
    let mut compiler = Compiler::new(settings);
    let mut edits = standalone.complete(batch.edits);
    CertificatePeriods::default().carry(&mut edits, SystemTime::now());
    compiler.apply(edits.iter().cloned());
    let without_endpoints = endpoints::missing(&edits, &compiler);
    Ok(Report::new(directory, &compiler, &scan, batch.problems, &without_endpoints))
}

/// A path that was mistyped must not pass for a configuration in order.
fn nothing(directory: &Path) -> Diagnostic {
    let message = "there are no Kubernetes objects in this directory";
    let remedy = "give the directory of the *.yaml, *.yml or *.json files";
    Diagnostic::error(Reason::DirectoryEmpty, "", message, remedy).at(directory, 0)
}

#[cfg(test)]
mod tests;
