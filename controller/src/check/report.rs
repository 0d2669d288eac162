//! The report of a check, for people and for machines.

use crate::compile::{Compiler, Problem, Severity};
use crate::resources::Kind;
use crate::source::{Scan, SourceProblem};
use crate::status::Truth;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// The report of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was checked.
    pub directory: PathBuf,
    /// Every object that has conditions.
    pub objects: Vec<CheckedObject>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// How much there is.
    pub counts: Counts,
}

/// An object and the conditions a cluster would show.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedObject {
    /// `HTTPRoute shop/reviews`
    pub object: String,
    /// Its file; none for one that is implied.
    pub file: Option<PathBuf>,
    /// Its line.
    pub line: usize,
    /// Its conditions.
    pub conditions: Vec<ShownCondition>,
}

/// A condition, and what of the object it is about.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownCondition {
    /// `listener https`, `parent Gateway edge/public`; empty for the whole object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether it holds.
    pub status: Truth,
    /// The API's word for why.
    pub reason: &'static str,
    /// Why.
    pub message: String,
    /// Whether it is bad news.
    pub bad: bool,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: Option<PathBuf>,
    /// The line in it; 0 when it is not known.
    pub line: usize,
    /// The object.
    pub object: String,
    /// The field.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// Objects that were read (and implied).
    pub objects: usize,
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
}

// === impl Report ===

impl Report {
    pub(super) fn new(
        directory: &Path,
        compiler: &Compiler,
        scan: &Scan,
        source: Vec<SourceProblem>,
    ) -> Self {
        let mut statuses: Vec<_> = compiler.statuses().collect();
        statuses.sort_by_key(|(object, _)| *object);
        let objects: Vec<CheckedObject> = statuses
            .into_iter()
            // A class nobody wrote has nothing to say.
            .filter(|(object, _)| object.kind != Kind::GatewayClass || scan.origin(object).is_some())
            .map(|(object, status)| {
                let origin = scan.origin(object);
                let shown = |(of, it): (String, &crate::status::Condition)| ShownCondition {
                    of,
                    kind: it.kind,
                    status: it.status,
                    reason: it.reason,
                    message: it.message.to_string(),
                    bad: it.is_bad(),
                };
                CheckedObject {
                    object: object.to_string(),
                    file: origin.map(|(file, _)| relative(directory, file)),
                    line: origin.map_or(0, |(_, line)| line),
                    conditions: status.conditions().into_iter().map(shown).collect(),
                }
            })
            .collect();
        let mut findings: Vec<Finding> = source.into_iter().map(|it| of_source(directory, it)).collect();
        findings.extend(compiler.problems().map(|it| of_compile(directory, it, scan)));
        findings.sort();
        findings.dedup();
        let count = |severity| findings.iter().filter(|it| it.severity == severity).count();
        let counts = Counts {
            objects: compiler.objects().len(),
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
        };
        Self { directory: directory.to_owned(), objects, findings, counts }
    }

    /// Whether something the user asked for would not be done.
    pub fn has_errors(&self) -> bool {
        self.counts.errors > 0
    }
}

fn relative(directory: &Path, file: &Path) -> PathBuf {
    file.strip_prefix(directory).unwrap_or(file).to_owned()
}

fn of_source(directory: &Path, it: SourceProblem) -> Finding {
    Finding {
        severity: it.severity,
        file: Some(relative(directory, &it.file)),
        line: it.line,
        object: it.object,
        field: it.field,
        message: it.message,
        remedy: it.remedy,
    }
}

fn of_compile(directory: &Path, it: &Problem, scan: &Scan) -> Finding {
    let origin = scan.origin(&it.object);
    Finding {
        severity: it.severity,
        file: origin.map(|(file, _)| relative(directory, file)),
        line: origin.map_or(0, |(_, line)| line),
        object: it.object.to_string(),
        field: it.field.clone(),
        message: it.message.clone(),
        remedy: it.remedy.clone(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for object in &self.objects {
            write!(f, "{}", object.object)?;
            if let Some(file) = &object.file {
                write!(f, "  ({}:{})", file.display(), object.line)?;
            }
            writeln!(f)?;
            let width = object.conditions.iter().map(|it| it.of.len()).max().unwrap_or_default();
            for it in &object.conditions {
                let mark = if it.bad { '!' } else { ' ' };
                let row = format!("{mark} {:width$}  {:<21} {:<8} {}", it.of, it.kind, it.status, it.reason);
                writeln!(f, " {}", row.trim_end())?;
            }
            writeln!(f)?;
        }
        for it in &self.findings {
            writeln!(f, "{it}")?;
        }
        let Counts { objects, errors, warnings } = self.counts;
        writeln!(f, "{objects} objects, {errors} errors, {warnings} warnings")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(f, "{word}: ")?;
        let place = match (&self.file, self.line) {
            (Some(file), 0) => file.display().to_string(),
            (Some(file), line) => format!("{}:{line}", file.display()),
            (None, _) => String::new(),
        };
        let parts = [place.as_str(), &self.object, &self.field];
        let said: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        writeln!(f, "{}", said.join(" "))?;
        write!(f, "  {}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "\n  remedy: {}", self.remedy)?;
        }
        Ok(())
    }
}
