//! Fields that are accepted and have no effect: nothing that a user wrote is passed over in silence.

use crate::compile::program::Made;
use crate::diagnostic::Diagnostic;
use crate::resources::ObjectRef;
use crate::status::{Condition, reason};
use std::borrow::Cow;

/// The fields of an object, or of a part of it, that are accepted and have no effect.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ignored(Vec<String>);

// === impl Ignored ===

impl Ignored {
    /// Notes a field, also as a warning.
    pub(super) fn note(&mut self, made: &mut Made, object: &ObjectRef, warning: Diagnostic) {
        self.push(warning.text());
        made.report(object, warning);
    }

    /// Adds what has been warned of already.
    pub(super) fn push(&mut self, text: String) {
        if !self.0.contains(&text) {
            self.0.push(text);
        }
    }

    /// What `Accepted` says of an object that is otherwise in order.
    pub(super) fn qualify<'a>(&self, message: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
        let message = message.into();
        match self.0.is_empty() {
            true => message,
            false => format!("{message}; these fields have no effect: {}", self.0.join(". ")).into(),
        }
    }

    /// The condition that names them; none where there are none.
    pub(super) fn condition(&self, generation: i64) -> Option<Condition> {
        let (kind, reason) = (reason::IGNORED_FIELDS, reason::NOT_SUPPORTED);
        (!self.0.is_empty()).then(|| Condition::holds(kind, reason, self.0.join(". "), generation))
    }
}
