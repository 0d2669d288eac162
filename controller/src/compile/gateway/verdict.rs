//! What the status says of one listener.

use super::listener::{Asked, Refusal};
use crate::compile::ignored::Ignored;
use crate::status::{Condition, reason};

/// What became of what a listener refers to.
pub(super) struct References {
    /// Those that lead nowhere: the API's word and what to do.
    pub unresolved: Vec<(&'static str, String)>,
    /// What clients will say against certificates that are in use.
    pub objections: Vec<String>,
}

/// The conditions of a listener.
pub(super) fn conditions(
    asked: &Asked<'_>,
    refusal: Option<&Refusal>,
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
            "a client that reuses connections may take this listener for {others}: their hostnames cover common names"
        );
        let (kind, reason) = (reason::OVERLAPPING_TLS_CONFIG, reason::OVERLAPPING_HOSTNAMES);
        conditions.push(Condition::holds(kind, reason, message, asked.owner.generation));
    }
    conditions.extend(ignored.condition(asked.owner.generation));
    conditions
}

fn accepted(asked: &Asked<'_>, refusal: Option<&Refusal>, ignored: &Ignored) -> Condition {
    let generation = asked.owner.generation;
    match refusal {
        None => {
            let message = ignored.qualify("the listener is in order");
            Condition::holds(reason::ACCEPTED, reason::ACCEPTED, message, generation)
        }
        // The API has no word of its own here for a conflict.
        Some(it) => Condition::fails(reason::ACCEPTED, it.reason, it.text(), generation),
    }
}

fn resolved(asked: &Asked<'_>, references: &References) -> Condition {
    let (kind, generation) = (reason::RESOLVED_REFS, asked.owner.generation);
    let objections = references.objections.iter().map(String::as_str);
    match references.unresolved.first() {
        None => Condition::holds(kind, kind, all_resolved(objections), generation),
        Some((reason, _)) => {
            let unresolved = references.unresolved.iter().map(|(_, text)| text.as_str());
            let all: Vec<&str> = unresolved.chain(objections).collect();
            Condition::fails(kind, reason, all.join(". "), generation)
        }
    }
}

/// What `ResolvedRefs` says when nothing is unresolved. A certificate that clients refuse is resolved: it is in use.
pub(super) fn all_resolved<'a>(objections: impl Iterator<Item = &'a str>) -> String {
    let objections: Vec<&str> = objections.collect();
    match objections.is_empty() {
        true => "all references lead somewhere".to_owned(),
        false => format!(
            "all references lead somewhere, but clients refuse a certificate. {}",
            objections.join(". ")
        ),
    }
}

fn conflicted(asked: &Asked<'_>) -> Condition {
    let (kind, generation) = (reason::CONFLICTED, asked.owner.generation);
    match asked.conflict {
        None => Condition::fails(kind, reason::NO_CONFLICTS, "no other listener is in the way", generation),
        Some(it) => Condition::holds(kind, it.reason, format!("{}; {}", it.message, it.remedy), generation),
    }
}

fn served(
    asked: &Asked<'_>,
    refusal: Option<&Refusal>,
    unresolved: &[(&'static str, String)],
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
        (None, None, Some((_, text))) => text.clone(),
        (None, None, None) => "it cannot be served".to_owned(),
    };
    let reason = asked.conflict.map_or(reason::INVALID, |it| it.reason);
    Condition::fails(kind, reason, why, generation)
}

// === impl Refusal ===

impl Refusal {
    fn text(&self) -> String {
        format!("{}: {}; {}", self.field, self.message, self.remedy)
    }
}
