//! What a policy is told, target by target.

use super::fate::{Fate, Judging};
use super::{spec, values};
use crate::compile::ignored::Ignored;
use crate::compile::policy::access::fate::TOLD;
use crate::compile::policy::status::{MOST_ANCESTORS, accepted, enforced};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::rate_limit_policy::{LocalLimit, RateLimitPolicySpec};
use crate::resources::{Kind, ObjectRef, RateLimitPolicy};
use crate::status::{AncestorStatus, Condition, Enforcement, ObjectStatus, ParentRef, PolicyStatus, reason};
use fairway_config::model::ObjectName;
use fairway_incremental::{OfInput, Query};
use std::collections::BTreeMap;

/// Puts the status together.
pub(in crate::compile) struct Status;

impl Query<Cluster> for Status {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::LAST;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<RateLimitPolicy>(name) else { return };
        let object = ObjectRef::of(Kind::RateLimitPolicy, name);
        let generation = policy.meta.generation;
        let defect = defect(reader, &policy);
        if let Some(it) = &defect {
            made.report(&object, it.clone());
        }
        let mut ancestors: BTreeMap<ParentRef, Vec<Fate>> = BTreeMap::new();
        for (index, target) in policy.spec.targets.iter().enumerate() {
            let field = format!("spec.targetRefs[{index}]");
            let judging = Judging { name, policy: &policy, target, field: &field };
            let Some((ancestor, fate)) = judging.fate(reader, made) else { continue };
            if let Err(error) = &fate.outcome {
                made.report(&object, error.clone());
            }
            ancestors.entry(ancestor).or_default().push(fate);
        }
        let controller_name = reader.settings().controller_name.clone();
        let ancestor = |(ancestor_ref, fates): (ParentRef, Vec<Fate>)| {
            let outcomes: Vec<_> = fates.iter().map(|it| it.outcome.clone()).collect();
            let whole = defect.as_ref().map_or(Ok(()), Err);
            let mut condition = accepted(whole, &outcomes, &Ignored::default(), generation);
            let is_whole = whole.is_ok() && outcomes.iter().all(Result::is_ok);
            let (mut enforcement, mut pending) = (Enforcement::default(), None);
            let mut replicas = 0;
            for fate in fates {
                enforcement.by.extend(fate.enforcement.by);
                enforcement.carriers.extend(fate.enforcement.carriers);
                pending = pending.or(fate.pending);
                replicas = replicas.max(fate.replicas);
            }
            if let (true, Some(spec)) = (is_whole && replicas > 0, spec(&policy)) {
                condition.message = format!("{}; {}", condition.message, together(spec, replicas)).into();
            }
            let mut conditions = vec![condition];
            conditions.extend(match pending.filter(|_| is_whole) {
                Some(why) => Some(Condition::fails(reason::ENFORCED, reason::PENDING, why, generation)),
                // Where nobody has to carry it out nobody does.
                None if is_whole && enforcement.by.is_empty() => None,
                None => enforced(&conditions),
            });
            AncestorStatus { ancestor_ref, controller_name: controller_name.clone(), conditions, enforcement }
        };
        let ancestors: Vec<_> = ancestors.into_iter().take(MOST_ANCESTORS).map(ancestor).collect();
        if !ancestors.is_empty() {
            made.statuses.push((object, ObjectStatus::Policy(PolicyStatus { ancestors })));
        }
    }
}

impl OfInput<Cluster> for Status {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::RateLimitPolicy).then(|| name.object_name())
    }
}

/// What all replicas let pass together: each counts by itself.
fn together(spec: &RateLimitPolicySpec, replicas: u32) -> String {
    let limit = |(index, it): (usize, &LocalLimit)| {
        let name = it.name.clone().unwrap_or_else(|| format!("limit {index}"));
        let all = u64::from(it.requests) * u64::from(replicas);
        format!("{all} requests per {:?} ({name})", it.per)
    };
    let limits: Vec<String> = spec.local.iter().enumerate().take(TOLD).map(limit).collect();
    let more = if spec.local.len() > TOLD { ", …" } else { "" };
    let who = match replicas {
        1 => "one replica of a proxy counts, and lets pass".to_owned(),
        many => format!("each of {many} replicas counts by itself, and together they let pass"),
    };
    format!("{who} up to {}{more}", limits.join(", "))
}

/// What is wrong with the policy itself, wherever it is to hold.
fn defect(reader: &Reader<'_>, policy: &RateLimitPolicy) -> Option<Diagnostic> {
    let unreadable = match (&policy.meta.unreadable, &policy.spec.spec) {
        (Some(why), _) => Some((String::new(), why.to_string())),
        (None, Err(it)) => Some((format!("spec.{}", it.field), it.reason.clone())),
        (None, Ok(_)) => None,
    };
    if let Some((field, why)) = unreadable {
        let message = format!("{why}, so the policy cannot be understood and its targets are closed");
        return Some(Diagnostic::error(
            Reason::RateLimitPolicyUnreadable,
            field,
            message,
            "correct the field",
        ));
    }
    let compiled = values::compile(spec(policy)?, &reader.settings());
    let first = compiled.invalid.first()?;
    let reasons: Vec<&str> = compiled.invalid.iter().take(TOLD).map(|it| it.reason.as_str()).collect();
    let message = format!(
        "{}; until this is corrected, requests to the targets of the policy are answered with 500",
        reasons.join("; ")
    );
    Some(Diagnostic::error(Reason::RateLimitPolicyValueInvalid, &*first.field, message, "correct the value"))
}
