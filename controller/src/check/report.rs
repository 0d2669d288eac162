//! The report of a check, for people and for machines.

use crate::compile::Compiler;
use crate::diagnostic::{Diagnostic, Severity};
use crate::resources::Kind;
use crate::source::Scan;
use crate::status::ConditionStatus;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// The report of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The directory that was checked, as it was given.
    pub directory: PathBuf,
    /// Every object that has conditions.
    pub objects: Vec<CheckedObject>,
    /// What is wrong, errors first. Files are relative to the directory.
    pub diagnostics: Vec<Diagnostic>,
    /// How much there is.
    pub counts: Counts,
}

/// An object and the conditions a cluster would show.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedObject {
    /// Kind, namespace and name, such as `HTTPRoute shop/reviews`.
    pub object: String,
    /// Its file; none for one that is implied.
    pub file: Option<PathBuf>,
    /// The line on which its document begins; 0 without a file.
    pub line: usize,
    /// The conditions that a cluster would show, in the order of the status.
    pub conditions: Vec<ShownCondition>,
}

/// A condition, and what of the object it is about.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownCondition {
    /// `listener https`, `parent Gateway edge/public`; empty for the whole object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// The type of the condition, such as `Accepted`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// The API's word for why.
    pub reason: &'static str,
    /// Its text for people.
    pub message: String,
    /// Whether it is bad news.
    pub bad: bool,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// Objects that were read (and implied).
    pub objects: usize,
    /// Diagnostics with severity `error`.
    pub errors: usize,
    /// Diagnostics with severity `warning`.
    pub warnings: usize,
}

// === impl Report ===

impl Report {
    /// `source` is what is wrong with the files, `more` with the objects beside what compiling says.
    pub(super) fn new(
        directory: &Path,
        compiler: &Compiler,
        scan: &Scan,
        source: Vec<Diagnostic>,
        more: &[Diagnostic],
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
        let of_objects = compiler.problems().chain(more).map(|it| locate(it, scan));
        let mut diagnostics: Vec<Diagnostic> = source.into_iter().chain(of_objects).collect();
        for location in diagnostics.iter_mut().filter_map(|it| it.location.as_mut()) {
            location.file = relative(directory, &location.file);
        }
        diagnostics.sort();
        diagnostics.dedup();
        let count = |severity| diagnostics.iter().filter(|it| it.severity == severity).count();
        let counts = Counts {
            objects: compiler.objects().len(),
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
        };
        Self { directory: directory.to_owned(), objects, diagnostics, counts }
    }

    /// Whether something the user asked for would not be done.
    pub fn has_errors(&self) -> bool {
        self.counts.errors > 0
    }
}

fn relative(directory: &Path, file: &Path) -> PathBuf {
    file.strip_prefix(directory).unwrap_or(file).to_owned()
}

/// The same with the place of its object.
fn locate(diagnostic: &Diagnostic, scan: &Scan) -> Diagnostic {
    let object = diagnostic.object.as_ref().and_then(|subject| subject.object());
    let origin = object.as_ref().and_then(|object| scan.origin(object));
    match origin {
        Some((file, line)) => diagnostic.clone().at(file, line),
        None => diagnostic.clone(),
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
        for diagnostic in &self.diagnostics {
            show(f, diagnostic)?;
        }
        let Counts { objects, errors, warnings } = self.counts;
        writeln!(f, "{objects} objects, {errors} errors, {warnings} warnings")
    }
}

/// A diagnostic for people: severity and place, then what is wrong, then what to do.
fn show(f: &mut fmt::Formatter<'_>, diagnostic: &Diagnostic) -> fmt::Result {
    let location = diagnostic.location.as_ref().map(ToString::to_string);
    let object = diagnostic.object.as_ref().map(ToString::to_string);
    let field = Some(diagnostic.field.clone()).filter(|field| !field.is_empty());
    let place: Vec<String> = [location, object, field].into_iter().flatten().collect();
    writeln!(f, "{}: {}", diagnostic.severity, place.join(" "))?;
    writeln!(f, "  {}", diagnostic.message)?;
    if !diagnostic.remedy.is_empty() {
        writeln!(f, "  remedy: {}", diagnostic.remedy)?;
    }
    Ok(())
}
