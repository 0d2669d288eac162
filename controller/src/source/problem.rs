//! What is wrong with a file or a manifest, before it is an object.

use crate::compile::Severity;
use std::fmt;
use std::path::PathBuf;

/// What is wrong with a file or a manifest, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct SourceProblem {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// The line where the object (or, where it cannot be parsed, the mistake) is; 0 for the whole file.
    pub line: usize,
    /// The object as far as it is known: `HTTPRoute shop/reviews`; empty if it is not.
    pub object: String,
    /// The path of the field; empty for the whole object.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for SourceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        for part in [&self.object, &self.field] {
            if !part.is_empty() {
                write!(f, " {part}")?;
            }
        }
        write!(f, ": {}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, " ({})", self.remedy)?;
        }
        Ok(())
    }
}
