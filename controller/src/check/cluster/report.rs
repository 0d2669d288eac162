//! The report on a cluster, for people and for machines.

use super::results::Results;
use crate::diagnostic::{Diagnostic, Severity};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What `fairway check` says of a cluster, in the order in which it is printed.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterReport {
    /// The address of its API server.
    pub server: String,
    /// Whether Fairway is installed there.
    pub installed: bool,
    /// The parts of the cluster that were checked, in the order in which they depend on each other.
    pub categories: Vec<Category>,
    /// The number of faults; several objects with the same fault count as one.
    pub counts: FaultCounts,
}

/// A part of the cluster, and what was found there.
#[derive(Clone, Debug, Serialize)]
pub struct Category {
    /// The name, such as `Nodes`.
    pub title: &'static str,
    /// What is wrong: errors first, one for each object.
    pub diagnostics: Vec<Diagnostic>,
    /// What was checked and is as it should be.
    pub passed: Vec<String>,
}

/// The number of faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FaultCounts {
    /// Faults with severity `error`: something does not work.
    pub errors: usize,
    /// Faults with severity `warning`: something works, but probably not as it is meant.
    pub warnings: usize,
}

/// How many objects of the same fault the text names.
const SHOWN: usize = 5;

// === impl ClusterReport ===

impl ClusterReport {
    pub(super) fn new(server: &str, installed: bool, categories: Vec<Category>) -> Self {
        let count = |severity| {
            let faults = categories.iter().flat_map(Category::faults);
            faults.filter(|(fault, _)| fault.severity == severity).count()
        };
        let counts = FaultCounts { errors: count(Severity::Error), warnings: count(Severity::Warning) };
        Self { server: server.to_owned(), installed, categories, counts }
    }

    /// Whether something does not work.
    pub fn has_errors(&self) -> bool {
        self.counts.errors > 0
    }
}

// === impl Category ===

impl Category {
    pub(super) fn new(title: &'static str, results: Results) -> Self {
        let Results { mut diagnostics, passed } = results;
        diagnostics.sort();
        diagnostics.dedup();
        Self { title, diagnostics, passed }
    }

    /// Each fault, as a diagnostic of no object, with the objects that have it; errors first.
    fn faults(&self) -> BTreeMap<Diagnostic, Vec<String>> {
        let mut faults = BTreeMap::<Diagnostic, Vec<String>>::new();
        for diagnostic in &self.diagnostics {
            let fault = Diagnostic { object: None, location: None, ..diagnostic.clone() };
            let objects = faults.entry(fault).or_default();
            objects.extend(diagnostic.object.as_ref().map(ToString::to_string));
        }
        faults
    }
}

impl fmt::Display for ClusterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for category in &self.categories {
            write!(f, "{category}")?;
        }
        let FaultCounts { errors, warnings } = self.counts;
        writeln!(f, "{}: {errors} errors, {warnings} warnings", self.server)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.diagnostics.is_empty() && self.passed.is_empty() {
            return Ok(());
        }
        writeln!(f, "{}", self.title)?;
        for (fault, objects) in self.faults() {
            write!(f, "{}", Paragraph { fault: &fault, objects: &objects })?;
        }
        for passed in &self.passed {
            writeln!(f, "  {:<8} {passed}", "ok")?;
        }
        writeln!(f)
    }
}

struct Paragraph<'a> {
    fault: &'a Diagnostic,
    objects: &'a [String],
}

impl fmt::Display for Paragraph<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { severity, field, message, remedy, .. } = self.fault;
        write!(f, "  {severity:<8} ")?;
        if !field.is_empty() {
            write!(f, "{field}: ")?;
        }
        writeln!(f, "{message}")?;
        if !self.objects.is_empty() {
            let shown: Vec<&str> = self.objects.iter().take(SHOWN).map(String::as_str).collect();
            write!(f, "{:11}{}", "", shown.join(", "))?;
            match self.objects.len().saturating_sub(SHOWN) {
                0 => writeln!(f)?,
                more => writeln!(f, " and {more} more")?,
            }
        }
        if !remedy.is_empty() {
            writeln!(f, "{:11}remedy: {remedy}", "")?;
        }
        Ok(())
    }
}
