//! The report on a cluster, for people and for machines.

use serde::Serialize;
use std::fmt;

/// The report on a cluster.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterReport {
    /// Where its API server is.
    pub server: String,
    /// Whether Fairway is installed there.
    pub installed: bool,
    /// What was looked at.
    pub chapters: Vec<Chapter>,
    /// How much there is to say.
    pub counts: Tally,
}

/// A part of what was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Chapter {
    /// What it is about.
    pub title: &'static str,
    /// The worst first.
    pub findings: Vec<Verdict>,
}

/// Something that was found, of one object or of many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Verdict {
    /// How it is.
    pub grade: Grade,
    /// What is wrong, or right.
    pub message: String,
    /// What to do; empty where nothing is to be done.
    pub remedy: String,
    /// With what; each as `Kind namespace/name`.
    pub objects: Vec<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// It does not work, or not as was asked for.
    Error,
    /// It works, but probably not as meant.
    Warning,
    /// Good to know.
    Note,
    /// In order.
    Ok,
}

/// How many findings there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
}

/// How many objects of the same finding people are shown.
const SHOWN: usize = 5;

// === impl ClusterReport ===

impl ClusterReport {
    pub(super) fn new(server: &str, installed: bool, chapters: Vec<Chapter>) -> Self {
        let count =
            |grade| chapters.iter().flat_map(|it| &it.findings).filter(|it| it.grade == grade).count();
        let counts = Tally { errors: count(Grade::Error), warnings: count(Grade::Warning) };
        Self { server: server.to_owned(), installed, chapters, counts }
    }

    /// Whether something does not work.
    pub fn has_errors(&self) -> bool {
        self.counts.errors > 0
    }
}

// === impl Chapter ===

impl Chapter {
    /// Findings that say the same of several objects become one.
    pub(super) fn new(title: &'static str, mut found: Vec<Verdict>) -> Self {
        found.sort();
        let mut findings: Vec<Verdict> = Vec::new();
        for it in found {
            match findings.last_mut().filter(|last| last.says_the_same(&it)) {
                Some(last) => last.objects.extend(it.objects),
                None => findings.push(it),
            }
        }
        findings.iter_mut().for_each(|it| it.objects.dedup());
        Self { title, findings }
    }
}

// === impl Verdict ===

impl Verdict {
    pub(super) fn ok(message: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, message: message.into(), remedy: String::new(), objects: Vec::new() }
    }

    pub(super) fn new(grade: Grade, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { grade, message: message.into(), remedy: remedy.into(), objects: Vec::new() }
    }

    /// Of an object.
    pub(super) fn of(mut self, object: impl fmt::Display) -> Self {
        self.objects.push(object.to_string());
        self
    }

    fn says_the_same(&self, other: &Self) -> bool {
        (self.grade, &self.message, &self.remedy) == (other.grade, &other.message, &other.remedy)
    }
}

impl Grade {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
            Self::Ok => "ok",
        }
    }
}

impl fmt::Display for ClusterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chapter in self.chapters.iter().filter(|it| !it.findings.is_empty()) {
            writeln!(f, "{}", chapter.title)?;
            for it in &chapter.findings {
                write!(f, "{it}")?;
            }
            writeln!(f)?;
        }
        let Tally { errors, warnings } = self.counts;
        writeln!(f, "{}: {errors} errors, {warnings} warnings", self.server)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<8} {}", self.grade.as_str(), self.message)?;
        if !self.objects.is_empty() {
            let shown: Vec<&str> = self.objects.iter().take(SHOWN).map(String::as_str).collect();
            write!(f, "{:11}{}", "", shown.join(", "))?;
            match self.objects.len().saturating_sub(SHOWN) {
                0 => writeln!(f)?,
                more => writeln!(f, " and {more} more")?,
            }
        }
        if !self.remedy.is_empty() {
            writeln!(f, "{:11}remedy: {}", "", self.remedy)?;
        }
        Ok(())
    }
}
