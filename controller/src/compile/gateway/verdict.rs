//! What the status says of one listener.

use super::listener::Asked;
use crate::compile::ignored::Ignored;
use crate::diagnostic::{Diagnostic, Subject};
use crate::resources::ObjectRef;
use crate::status::{Condition, reason};
use std::sync::Arc;

/// What became of what a listener refers to.
pub(super) struct References {
    /// Those that are not resolved.
    pub unresolved: Vec<Diagnostic>,
    /// What is wrong with certificates that are in use.
    pub warnings: Vec<Diagnostic>,
}

/// The conditions of a listener.
pub(super) fn conditions(
    asked: &Asked<'_>,
    refusal: Option<&Diagnostic>,
    references: &References,
    programmed: bool,
    ignored: &Ignored,
) -> Vec<Condition> {
    let mut conditions = vec![
        accepted(asked, refusal, ignored),
        resolved(asked, references),
        conflicted(asked),
        served(asked, refusal, &references.unresolved, programmed),
    ];
    if let Some(others) = asked.overlaps {
        let message = format!(
            "the hostnames overlap with those of listener {others}: a client that reuses a connection may send requests for the other listener to this one"
        );
        let (kind, reason) = (reason::OVERLAPPING_TLS_CONFIG, reason::OVERLAPPING_HOSTNAMES);
        conditions.push(Condition::holds(kind, reason, message, asked.owner.generation));
    }
    conditions.extend(ignored.condition(asked.owner.generation));
    conditions
}

/// Why a listener is not served, as its status says it.
pub(super) fn programmed(conditions: &[Condition]) -> Arc<str> {
    let programmed = conditions.iter().find(|it| it.kind == reason::PROGRAMMED);
    programmed.map(|it| it.message.as_ref()).unwrap_or_default().into()
}

fn accepted(asked: &Asked<'_>, refusal: Option<&Diagnostic>, ignored: &Ignored) -> Condition {
    let generation = asked.owner.generation;
    match refusal {
        None => {
            let message = ignored.qualify("the listener is accepted");
            Condition::holds(reason::ACCEPTED, reason::ACCEPTED, message, generation)
        }
        // The API has no word of its own here for a conflict.
        Some(it) => Condition::fails(reason::ACCEPTED, it.reason.condition(), it.text(), generation),
    }
}

fn resolved(asked: &Asked<'_>, references: &References) -> Condition {
    let (kind, generation) = (reason::RESOLVED_REFS, asked.owner.generation);
    match references.unresolved.first() {
        None => {
            let own = &asked.owner.object;
            let texts = references.warnings.iter().map(|it| of_object(it, own, Diagnostic::text));
            Condition::holds(kind, kind, describe_resolved(texts.collect()), generation)
        }
        Some(first) => {
            let all = references.unresolved.iter().chain(&references.warnings);
            let own = &asked.owner.object;
            let all: Vec<String> = all.map(|it| of_object(it, own, Diagnostic::text)).collect();
            Condition::fails(kind, unresolved(first), all.join(". "), generation)
        }
    }
}

/// The API's word for a reference of a listener that is not resolved. For what its filters refer to there is one word (GEP-5224), and
/// another for what a namespace does not grant.
fn unresolved(error: &Diagnostic) -> &'static str {
    match error.reason.condition() {
        reason::BACKEND_NOT_FOUND | reason::INVALID_KIND | reason::UNSUPPORTED_PROTOCOL => {
            reason::INVALID_LISTENER_FILTER_REF
        }
        other => other,
    }
}

/// What `ResolvedRefs` says when every reference is resolved. A certificate that clients refuse is resolved: it is in use.
pub(super) fn describe_resolved(warnings: Vec<String>) -> String {
    match warnings.is_empty() {
        true => "all references are resolved".to_owned(),
        false => format!("all references are resolved. {}", warnings.join(". ")),
    }
}

fn conflicted(asked: &Asked<'_>) -> Condition {
    let (kind, generation) = (reason::CONFLICTED, asked.owner.generation);
    match asked.conflict {
        None => Condition::fails(
            kind,
            reason::NO_CONFLICTS,
            "no other listener uses the same port and hostname",
            generation,
        ),
        Some(it) => Condition::holds(kind, it.reason.condition(), it.text(), generation),
    }
}

fn served(
    asked: &Asked<'_>,
    refusal: Option<&Diagnostic>,
    unresolved: &[Diagnostic],
    programmed: bool,
) -> Condition {
    let (kind, generation) = (reason::PROGRAMMED, asked.owner.generation);
    if programmed {
        return Condition::holds(kind, kind, "the listener is served", generation);
    }
    let unserved = asked.owner.refusal.as_deref().or(asked.unserved);
    let why = match (refusal, unserved, unresolved.first()) {
        (Some(it), ..) => it.text(),
        (None, Some(why), _) => why.to_owned(),
        (None, None, Some(error)) => of_object(error, &asked.owner.object, Diagnostic::text),
        (None, None, None) => "it cannot be served".to_owned(),
    };
    let reason = asked.conflict.map_or(reason::INVALID, |it| it.reason.condition());
    Condition::fails(kind, reason, why, generation)
}

/// What is said of an error in the status of `own`: after the object it is about, where that is another one.
pub(super) fn of_object(error: &Diagnostic, own: &ObjectRef, say: fn(&Diagnostic) -> String) -> String {
    match error.object.as_deref().filter(|it| **it != Subject::from(own)) {
        Some(object) => format!("{object} {}", say(error)),
        None => say(error),
    }
}
