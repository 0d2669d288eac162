//! `fairway check`: what a directory amounts to, without running anything. The same source and the same compile as
//! `fairway run`: there is no second opinion.

mod report;

pub use report::{CheckedObject, Counts, Finding, Report, ShownCondition};

use crate::compile::{Compiler, Settings};
use crate::source::{Completion, Standalone, WatchError, read_once};
use std::path::Path;

/// Reads a directory once, compiles it and reports.
pub fn check(directory: &Path, settings: Settings) -> Result<Report, WatchError> {
    let (scan, batch) = read_once(directory)?;
    let mut standalone = Standalone::new(Completion::of(&settings));
    let mut compiler = Compiler::new(settings);
    compiler.apply(standalone.complete(batch.edits));
    Ok(Report::new(directory, &compiler, &scan, batch.problems))
}

#[cfg(test)]
mod tests;
