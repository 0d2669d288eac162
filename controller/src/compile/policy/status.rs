//! What a policy is told.
//!
//! A policy's query for the status makes its conditions ([`accepted`] and those of its kind) and ends with one call:
//!
//! - [`of_enforced`], if proxies carry the policy out. It takes who enforces the policy for each ancestor (the proxies of a
//!   Gateway or a waypoint, the tunnels) and the *carriers*: the keys of the resources by which the policy takes effect. It adds
//!   `fairway.dev/Enforced`. The status writer lets it be `True` for an ancestor once every ready proxy of its enforcers has
//!   acknowledged the commit in which a carrier last changed (`crate::status::enforcement`), and says which proxies refuse one.
//!   Nothing else is needed: the writer sees by the keys what changes and what is refused.
//! - [`AtTargets::publish`], if proxies carry it out and each target has an outcome of its own ([`TargetOutcome`]).
//! - [`of_ancestors`], if no proxy has to do with it.

use crate::compile::ignored::Ignored;
use crate::compile::program::Made;
use crate::compile::settings::CompileSettings;
use crate::diagnostic::{Diagnostic, Reason, join_texts};
use crate::resources::ObjectRef;
use crate::status::{
    AncestorStatus, Condition, ConditionStatus, Enforcement, Enforcer, ObjectStatus, ParentRef, PolicyStatus,
    reason,
};
use fairway_config::model::ResourceKey;
use std::collections::{BTreeMap, BTreeSet};

/// As many ancestors as the API lets a policy have, of all controllers together. Where others have some, the writer leaves room for them.
const MOST_ANCESTORS: usize = 16;

/// Gives a policy its status, with the same conditions for each of its ancestors; none when it has no ancestors.
pub(in crate::compile) fn of_ancestors(
    policy: &ObjectRef,
    ancestors: impl IntoIterator<Item = ObjectRef>,
    conditions: &[Condition],
    settings: &CompileSettings,
    made: &mut Made,
) {
    let nobody = |object| (object, BTreeSet::new());
    let ancestors = ancestors.into_iter().map(nobody);
    publish(policy, each(ancestors, &BTreeSet::new(), conditions, settings), [], made);
}

/// Gives a policy that proxies enforce its status: for each of its ancestors these conditions, and `fairway.dev/Enforced`.
/// An accepted policy is enforced when those who enforce it for the ancestor have the `carriers` as they are now. Of ancestors that
/// are `held` what was written stays.
pub(in crate::compile) fn of_enforced(
    policy: &ObjectRef,
    ancestors: impl IntoIterator<Item = (ObjectRef, BTreeSet<Enforcer>)>,
    held: &BTreeSet<ObjectRef>,
    carriers: &BTreeSet<ResourceKey>,
    conditions: Vec<Condition>,
    settings: &CompileSettings,
    made: &mut Made,
) {
    let enforced = enforced(&conditions);
    let conditions: Vec<Condition> = conditions.into_iter().chain(enforced).collect();
    publish(policy, each(ancestors, carriers, &conditions, settings), held.iter().map(reference), made);
}

/// Gives a policy its status; none when it has no ancestors. The API has room for so many, and what is beyond is said. Of ancestors
/// that are `held` what was written stays.
fn publish(
    policy: &ObjectRef,
    mut ancestors: Vec<AncestorStatus>,
    held: impl IntoIterator<Item = ParentRef>,
    made: &mut Made,
) {
    let left_out = ancestors.len().saturating_sub(MOST_ANCESTORS);
    if let Some(first) = ancestors.get(MOST_ANCESTORS) {
        let message = format!(
            "the policy has {} ancestors, and a status has room for {MOST_ANCESTORS}; {left_out} are left out, first {}. What is decided \
             for them holds, and is not in the status",
            ancestors.len(),
            first.ancestor_ref
        );
        let remedy = "spread the targets over several policies where their status matters";
        made.report(
            policy,
            Diagnostic::warning(Reason::AncestorsLeftOut, "status.ancestors", message, remedy),
        );
    }
    ancestors.truncate(MOST_ANCESTORS);
    let is_judged = |it: &ParentRef| ancestors.iter().any(|ancestor| ancestor.ancestor_ref == *it);
    let held: Vec<ParentRef> = held.into_iter().filter(|it| !is_judged(it)).collect();
    if !ancestors.is_empty() || !held.is_empty() {
        let status = PolicyStatus { ancestors, held, left_out };
        made.statuses.push((policy.clone(), ObjectStatus::Policy(status)));
    }
}

/// The same conditions for each ancestor.
fn each(
    ancestors: impl IntoIterator<Item = (ObjectRef, BTreeSet<Enforcer>)>,
    carriers: &BTreeSet<ResourceKey>,
    conditions: &[Condition],
    settings: &CompileSettings,
) -> Vec<AncestorStatus> {
    let ancestor = |(object, by): (ObjectRef, BTreeSet<Enforcer>)| AncestorStatus {
        ancestor_ref: reference(&object),
        controller_name: settings.controller_name.clone(),
        conditions: conditions.to_vec(),
        enforcement: Enforcement { carriers: carriers.clone(), by },
    };
    ancestors.into_iter().map(ancestor).collect()
}

/// What became of a policy at one target.
#[derive(Debug)]
pub(in crate::compile) struct TargetOutcome {
    pub outcome: Result<(), Diagnostic>,
    /// Who carries it out, and by what.
    pub enforcement: Enforcement,
    /// Why nobody can yet.
    pub pending: Option<String>,
    /// What of it other policies override there, so that the rest alone is carried out.
    pub overridden: Option<String>,
    /// What else its owner has to know of it there.
    pub note: Option<String>,
}

// === impl TargetOutcome ===

impl TargetOutcome {
    /// It is carried out by these, or by nobody where nobody has to.
    pub(in crate::compile) fn carried_out(enforcement: Enforcement) -> Self {
        Self { outcome: Ok(()), enforcement, pending: None, overridden: None, note: None }
    }

    /// It is not carried out there.
    pub(in crate::compile) fn failed(error: Diagnostic) -> Self {
        Self { outcome: Err(error), ..Self::carried_out(Enforcement::default()) }
    }
}

/// What can be said of a policy at one of its targets.
#[derive(Debug)]
pub(in crate::compile) enum AtTarget {
    /// What became of it.
    Judged(Box<TargetOutcome>),
    /// Nothing, since the target cannot be read: what was said stays.
    Held,
}

/// What became of a policy at its targets, which it may name several times.
#[derive(Debug, Default)]
pub(in crate::compile) struct AtTargets {
    judged: BTreeMap<ParentRef, Vec<TargetOutcome>>,
    held: BTreeSet<ParentRef>,
}

// === impl AtTargets ===

impl AtTargets {
    /// Adds what became of a policy at one of them; an error is reported too.
    pub(in crate::compile) fn add(
        &mut self,
        policy: &ObjectRef,
        target: ParentRef,
        what: AtTarget,
        made: &mut Made,
    ) {
        match what {
            AtTarget::Held => drop(self.held.insert(target)),
            AtTarget::Judged(outcome) => {
                if let Err(error) = &outcome.outcome {
                    made.report(policy, error.clone());
                }
                self.judged.entry(target).or_default().push(*outcome);
            }
        }
    }

    /// Whether no target is ours to speak of.
    pub(in crate::compile) fn is_empty(&self) -> bool {
        self.judged.is_empty() && self.held.is_empty()
    }

    /// Gives the policy its status; none when no target is judged here. `defects` are what is wrong with the policy itself.
    pub(in crate::compile) fn publish(
        self,
        policy: &ObjectRef,
        defects: &[Diagnostic],
        generation: i64,
        settings: &CompileSettings,
        made: &mut Made,
    ) {
        let ancestor = |(ancestor_ref, reviewed): (ParentRef, Vec<TargetOutcome>)| {
            let (conditions, enforcement) = of_target(defects, reviewed, generation);
            let controller_name = settings.controller_name.clone();
            AncestorStatus { ancestor_ref, controller_name, conditions, enforcement }
        };
        let ancestors = self.judged.into_iter().map(ancestor).collect();
        publish(policy, ancestors, self.held, made);
    }
}

/// The conditions at one target, which the policy may name several times.
fn of_target(
    defects: &[Diagnostic],
    reviewed: Vec<TargetOutcome>,
    generation: i64,
) -> (Vec<Condition>, Enforcement) {
    let outcomes: Vec<_> = reviewed.iter().map(|it| it.outcome.clone()).collect();
    let whole = defects.first().map_or(Ok(()), Err);
    // What is not carried out at an object is not accepted there in part, whatever holds for other entries that name it.
    let whole = whole.and_then(|()| match outcomes.iter().find_map(|it| it.as_ref().err()) {
        Some(error) if outcomes.len() > 1 => Err(error),
        _ => Ok(()),
    });
    let mut accepted = accepted(whole, &outcomes, &Ignored::default(), generation);
    if !defects.is_empty() {
        accepted.message = join_texts(defects).into();
    }
    let all = |read: fn(&TargetOutcome) -> Option<&str>| {
        let texts: BTreeSet<&str> = reviewed.iter().filter_map(read).collect();
        texts.into_iter().collect::<Vec<_>>().join(". ")
    };
    let (overridden, notes) = (all(|it| it.overridden.as_deref()), all(|it| it.note.as_deref()));
    if accepted.status == ConditionStatus::True {
        let message = match overridden.is_empty() {
            true => accepted.message.to_string(),
            false => format!("accepted in part: {overridden}"),
        };
        accepted.message = if notes.is_empty() { message } else { format!("{message}. {notes}") }.into();
    }
    let mut conditions = vec![accepted];
    let mut enforcement = Enforcement::default();
    let mut pending = None;
    for at_target in reviewed {
        enforcement.by.extend(at_target.enforcement.by);
        enforcement.carriers.extend(at_target.enforcement.carriers);
        pending = pending.or(at_target.pending);
    }
    let is_whole = whole.is_ok() && outcomes.iter().all(Result::is_ok);
    let fails =
        |reason, message: String| Some(Condition::fails(reason::ENFORCED, reason, message, generation));
    conditions.extend(match pending.filter(|_| is_whole) {
        Some(why) => fails(reason::PENDING, why),
        None if is_whole && !overridden.is_empty() => fails(reason::OVERRIDDEN, overridden),
        // Where nobody has to carry it out nobody does.
        None if is_whole && enforcement.by.is_empty() => None,
        None => enforced(&conditions),
    });
    (conditions, enforcement)
}

/// `fairway.dev/Enforced`, as it is once the proxies have acknowledged; none beside conditions without `Accepted`.
pub(in crate::compile) fn enforced(conditions: &[Condition]) -> Option<Condition> {
    let accepted = conditions.iter().find(|it| it.kind == reason::ACCEPTED)?;
    let generation = accepted.observed_generation;
    Some(match accepted.status {
        ConditionStatus::True => {
            let message = "the proxies enforce the policy where it is accepted";
            Condition::holds(reason::ENFORCED, reason::BY_PROXIES, message, generation)
        }
        ConditionStatus::False | ConditionStatus::Unknown => {
            let message = "the policy is not accepted; see condition Accepted";
            Condition::fails(reason::ENFORCED, reason::NOT_ACCEPTED, message, generation)
        }
    })
}

/// How a status names an object.
pub(in crate::compile) fn reference(object: &ObjectRef) -> ParentRef {
    ParentRef {
        group: Some(object.kind.group().into()),
        kind: Some(object.kind.as_str().into()),
        namespace: Some(object.namespace.clone()).filter(|it| !it.is_empty()),
        name: object.name.clone(),
        ..ParentRef::default()
    }
}

/// `Accepted`: whether the policy can be carried out, and what became of it at each of its targets. One target that takes it
/// is enough.
pub(in crate::compile) fn accepted(
    policy: Result<(), &Diagnostic>,
    targets: &[Result<(), Diagnostic>],
    ignored: &Ignored,
    generation: i64,
) -> Condition {
    let fails = |reason, message| Condition::fails(reason::ACCEPTED, reason, message, generation);
    if let Err(defect) = policy {
        return fails(defect.reason.condition(), defect.text());
    }
    let bad: Vec<&Diagnostic> = targets.iter().filter_map(|it| it.as_ref().err()).collect();
    let message = join_texts(bad.iter().copied());
    let holds = |message: String| {
        Condition::holds(reason::ACCEPTED, reason::ACCEPTED, ignored.qualify(message), generation)
    };
    match bad.first() {
        None => holds("the policy is accepted".to_owned()),
        Some(_) if bad.len() < targets.len() => holds(format!("accepted in part: {message}")),
        Some(first) => fails(first.reason.condition(), message),
    }
}
