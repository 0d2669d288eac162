//! What the checks of a cluster find: problems, and what is as it should be.

use crate::diagnostic::{Diagnostic, Severity};

/// What the checks of one part of a cluster find.
#[derive(Clone, Debug, Default)]
pub(super) struct Results {
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What is as it should be.
    pub(super) passed: Vec<String>,
}

impl Results {
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub(super) fn pass(&mut self, message: impl Into<String>) {
        self.passed.push(message.into());
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.diagnostics.append(&mut other.diagnostics);
        self.passed.append(&mut other.passed);
    }

    /// Whether nothing is wrong, but for notes.
    pub(super) fn is_good(&self) -> bool {
        self.diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Note)
    }
}
