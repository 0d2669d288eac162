//! One type for everything that is wrong with what a user wrote or with what is installed.
//!
//! A [`Diagnostic`] is made where the fault is found (a source, compiling, a check of a cluster) and is shown unchanged: in
//! a condition, in `fairway check`, in a Kubernetes Event and in a log. It says what is wrong, where (object and field),
//! what follows, and what to do.
//!
//! Each message has a [`Reason`] of its own, and each reason is used at one place in the source;
//! `snapshots/fairway_controller__diagnostic__tests__golden.snap` has an example of every one. Tests hold both, so that a
//! message cannot be added without being read.

mod reason;
pub(crate) mod rule;
mod subject;

#[cfg(test)]
mod tests;

pub use reason::Reason;
pub use subject::{Location, Subject};

use crate::resources::InvalidObject;
use std::fmt;
use std::path::PathBuf;

/// What is wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Diagnostic {
    /// How much it matters. First, so that a sorted list has the errors at its top.
    pub severity: Severity,
    /// The object; none when a file cannot be read as objects.
    pub object: Option<Box<Subject>>,
    /// Where the object is written; none for what comes from a cluster, or is implied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Box<Location>>,
    /// The path of the field in the object, such as `spec.rules[0].matches`; empty for the whole object.
    pub field: String,
    /// Which message it is, for programs. Stable where [`Reason::condition`] is a word of the API.
    pub reason: Reason,
    /// What is wrong, and what follows: a sentence without its full stop.
    pub message: String,
    /// What to do; empty where nothing has to be done.
    pub remedy: String,
}

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something that the user asks for is not done. `fairway check` fails.
    Error,
    /// It is done, but probably not as it is meant.
    Warning,
    /// For information; nothing has to be done.
    Note,
}

// === impl Diagnostic ===

impl Diagnostic {
    /// Something that is asked for and not done.
    pub fn error(
        reason: Reason,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Error, reason, field, message, remedy)
    }

    /// Something that is done, but probably not as it is meant.
    pub fn warning(
        reason: Reason,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, reason, field, message, remedy)
    }

    /// Something that is good to know.
    pub fn note(
        reason: Reason,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Note, reason, field, message, remedy)
    }

    /// A diagnostic of no object yet: the one who finds a fault often knows the field and not the object.
    pub fn new(
        severity: Severity,
        reason: Reason,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let made = Self {
            severity,
            object: None,
            location: None,
            field: field.into(),
            reason,
            message: message.into(),
            remedy: remedy.into(),
        };
        #[cfg(test)]
        tests::recorder::record(&made);
        made
    }

    /// The same about an object.
    #[must_use]
    pub fn about(mut self, object: impl Into<Subject>) -> Self {
        self.object = Some(Box::new(object.into()));
        self
    }

    /// The same in a part of an object: `path` comes before the field.
    #[must_use]
    pub fn under(mut self, path: &str) -> Self {
        if !path.is_empty() {
            let dot = if self.field.is_empty() || self.field.starts_with(['.', '[']) { "" } else { "." };
            self.field = format!("{path}{dot}{}", self.field);
        }
        self
    }

    /// The same with the place where the object is written; line 0 stands for the whole file.
    #[must_use]
    pub fn at(mut self, file: impl Into<PathBuf>, line: usize) -> Self {
        self.location = Some(Box::new(Location { file: file.into(), line }));
        self
    }

    /// Field and message, without the remedy: for a diagnostic that is put together from others, and has a remedy of its own.
    pub(crate) fn statement(&self) -> String {
        match self.field.is_empty() {
            true => self.message.clone(),
            false => format!("{}: {}", self.field, self.message),
        }
    }

    /// Field, message and remedy in one line: what a condition of the object says.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.field.is_empty() {
            text.push_str(&self.field);
            text.push_str(": ");
        }
        text.push_str(&self.message);
        if !self.remedy.is_empty() {
            text.push_str("; ");
            text.push_str(&self.remedy);
        }
        text
    }
}

impl From<InvalidObject> for Diagnostic {
    fn from(error: InvalidObject) -> Self {
        Self::error(Reason::ObjectInvalid, error.field, error.reason, "correct the field")
    }
}

/// The remedy of a diagnostic that stands alone.
pub(crate) fn only_remedy(diagnostics: &[Diagnostic]) -> Option<&str> {
    match diagnostics {
        [one] if !one.remedy.is_empty() => Some(&one.remedy),
        _ => None,
    }
}

/// The texts of several diagnostics, for one condition.
pub fn join_texts<'a>(diagnostics: impl IntoIterator<Item = &'a Diagnostic>) -> String {
    diagnostics.into_iter().map(Diagnostic::text).collect::<Vec<_>>().join(". ")
}

/// Texts as sentences after another one. The first word of each is capitalised, unless it is the path of a field.
pub(crate) fn sentences(texts: &[String]) -> String {
    let sentence = |text: &String| {
        let is_word = text.split(' ').next().is_some_and(|it| it.chars().all(|it| it.is_ascii_lowercase()));
        match text.chars().next().filter(|_| is_word) {
            Some(first) => first.to_ascii_uppercase().to_string() + &text[first.len_utf8()..],
            None => text.clone(),
        }
    };
    texts.iter().map(sentence).collect::<Vec<_>>().join(". ")
}

/// One line for a log: place, object, field, message, remedy.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = self.location.as_ref().map(ToString::to_string);
        let object = self.object.as_ref().map(ToString::to_string);
        let field = Some(self.field.clone()).filter(|field| !field.is_empty());
        let place: Vec<String> = [location, object, field].into_iter().flatten().collect();
        if !place.is_empty() {
            write!(f, "{}: ", place.join(" "))?;
        }
        f.write_str(&self.message)?;
        if !self.remedy.is_empty() {
            write!(f, " ({})", self.remedy)?;
        }
        Ok(())
    }
}

// === impl Severity ===

impl Severity {
    /// The word that `fairway check` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
