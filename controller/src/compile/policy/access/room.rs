//! How much the policies of one object may compare. Each has a bound of its own, and an object may have any number of policies; what
//! they compare is compared for each request, on threads that all tenants of a proxy share.
//!
//! The oldest policies come first. What an object has no room for is not carried out in part: the object is closed.

use super::pods::OfPods;
use super::{is_enforced, spec};
use crate::compile::names::access::Form;
use crate::compile::policy::attach;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::access_policy::{AccessOperation, AccessPolicySpec, AccessRule, AccessSource};
use crate::resources::{AccessPolicy, ObjectRef};
use fairway_config::model::ObjectName;
use fairway_incremental::{Query, Set};
use std::collections::BTreeSet;
use std::sync::Arc;

/// As many values a policy compares at most, ranges of addresses apart: those are found, and these are compared one by one, on threads
/// that all tenants of a Gateway share.
pub(super) const MOST_VALUES: usize = 1024;

/// As many values the policies of one object compare at most, ranges of addresses apart. A policy, a rule and an entry of `from` or `to`
/// count as one value each.
pub(in crate::compile) const MOST_COMPARED: usize = 4096;

/// What a policy adds to that.
pub(super) struct Compared;

impl Query<Cluster> for Compared {
    type Key = ObjectName;
    type Value = Claim;
    const STAGE: u8 = stage::SELECTORS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, _: &mut Made) -> Claim {
        let Some(policy) = reader.input::<AccessPolicy>(name) else { return Claim::default() };
        let values = spec(&policy).map_or(0, compared);
        Claim::new(policy.meta.created, 1 + values, is_enforced(&policy))
    }
}

/// What a policy asks of the room of its objects.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::compile::policy) struct Claim {
    created: i64,
    values: usize,
    is_enforced: bool,
}

/// The policies that an object has no room for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::compile::policy) struct Room {
    without: BTreeSet<ObjectRef>,
    /// The one of them that closes the object in place of all. None if no decision of theirs counts: then they decide nothing.
    closes: Option<ObjectRef>,
}

/// The room of an object with a name; that of a pod is found by pod (see `pods`).
pub(super) struct OfObject;

impl Query<Cluster> for OfObject {
    type Key = ObjectRef;
    type Value = Arc<Room>;
    const STAGE: u8 = stage::SUMS;

    fn run(target: &ObjectRef, reader: &mut Reader<'_>, _: &mut Made) -> Arc<Room> {
        let policies: BTreeSet<ObjectRef> =
            attach::attached::<AccessPolicy>(reader, target).into_iter().map(|it| it.policy).collect();
        Arc::new(Room::among(reader, policies))
    }
}

/// Whether any pod of a namespace has room for all policies of pods there. Mostly so, and then it is no pod's business what these compare.
pub(super) struct PodsHaveRoom;

impl Query<Cluster> for PodsHaveRoom {
    type Key = Arc<str>;
    type Value = bool;
    const STAGE: u8 = stage::SUMS;

    fn run(namespace: &Arc<str>, reader: &mut Reader<'_>, _: &mut Made) -> bool {
        let policies = reader.members(&OfPods(namespace.clone()));
        let values = policies.iter().map(|it| reader.get::<Compared>(&it.object_name()).values);
        values.fold(0_usize, usize::saturating_add) <= MOST_COMPARED
    }
}

/// The pods that have no room for a policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct PodsWithoutRoom(pub ObjectName);

impl Set<Cluster> for PodsWithoutRoom {
    type Member = ObjectRef;
}

/// What a policy adds to what is compared at its objects. One that compares too much by itself is closed, and compares nothing.
fn compared(spec: &AccessPolicySpec) -> usize {
    let (rules, values) = (spec.rules.as_ref().map_or(0, Vec::len), values_of(spec));
    if values > MOST_VALUES { 0 } else { rules + values }
}

/// What the rules of a policy compare one by one.
pub(super) fn values_of(spec: &AccessPolicySpec) -> usize {
    spec.rules.iter().flatten().map(values_of_rule).sum()
}

fn values_of_rule(rule: &AccessRule) -> usize {
    let source =
        |it: &AccessSource| 1 + count(&it.service_accounts) + count(&it.namespaces) + count(&it.spiffe_ids);
    let sources = rule.from.iter().flatten().map(source).sum::<usize>();
    sources + rule.to.iter().flatten().map(values_of_operation).sum::<usize>()
}

/// What an entry of what is asked for compares one by one, itself counted.
pub(in crate::compile::policy) fn values_of_operation(it: &AccessOperation) -> usize {
    1 + count(&it.ports)
        + count(&it.hosts)
        + count(&it.methods)
        + count(&it.paths)
        + count(&it.grpc)
        + count(&it.headers)
}

fn count<T>(list: &Option<Vec<T>>) -> usize {
    list.as_ref().map_or(0, Vec::len)
}

// === impl Claim ===

impl Claim {
    pub(in crate::compile::policy) fn new(created: i64, values: usize, is_enforced: bool) -> Self {
        Self { created, values, is_enforced }
    }
}

// === impl Room ===

impl Room {
    /// That of an object with these policies.
    pub(super) fn among(reader: &mut Reader<'_>, policies: impl IntoIterator<Item = ObjectRef>) -> Self {
        let claim = |it: ObjectRef| (reader.get::<Compared>(&it.object_name()), it);
        Self::from_claims(policies.into_iter().map(claim).collect(), MOST_COMPARED)
    }

    /// That of an object whose policies claim so much, where there is room for `most`.
    pub(in crate::compile::policy) fn from_claims(mut claims: Vec<(Claim, ObjectRef)>, most: usize) -> Self {
        claims.sort_by(|(a, one), (b, other)| (a.created, one).cmp(&(b.created, other)));
        let (mut room, mut sum) = (Self::default(), 0_usize);
        for (claim, policy) in claims {
            sum = sum.saturating_add(claim.values);
            if sum <= most {
                continue;
            }
            if claim.is_enforced {
                room.closes.get_or_insert_with(|| policy.clone());
            }
            room.without.insert(policy);
        }
        room
    }

    /// Whether there is none for a policy.
    pub(in crate::compile::policy) fn lacks(&self, policy: &ObjectRef) -> bool {
        self.without.contains(policy)
    }

    /// The form that a policy has at the object, where it would have this one; none if it has no part in judging.
    pub(super) fn form(&self, policy: &ObjectRef, form: Form) -> Option<Form> {
        self.place(policy, form, Form::Closed)
    }

    /// The same for policies of any kind.
    pub(in crate::compile::policy) fn place<F>(&self, policy: &ObjectRef, form: F, closed: F) -> Option<F> {
        match (self.lacks(policy), self.closes.as_ref() == Some(policy)) {
            (false, _) => Some(form),
            (true, true) => Some(closed),
            (true, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Kind;

    fn policy(name: &str) -> ObjectRef {
        ObjectRef::new(Kind::AccessPolicy, "shop", name)
    }

    fn room(claims: &[(&str, i64, usize, bool)]) -> Room {
        let claim = |(name, created, values, is_enforced): &(&str, i64, usize, bool)| {
            (Claim { created: *created, values: *values, is_enforced: *is_enforced }, policy(name))
        };
        Room::from_claims(claims.iter().map(claim).collect(), MOST_COMPARED)
    }

    #[test]
    fn the_oldest_come_first_and_the_first_beyond_closes() {
        let half = MOST_COMPARED / 2;
        let room = room(&[("d", 4, 1, true), ("c", 3, 1, true), ("b", 2, half, true), ("a", 1, half, false)]);
        let forms = ["a", "b", "c", "d"].map(|it| room.form(&policy(it), Form::Gateway));
        assert_eq!(forms, [Some(Form::Gateway), Some(Form::Gateway), Some(Form::Closed), None]);
    }

    #[test]
    fn what_only_observes_closes_nothing_and_hides_nobody_who_does() {
        let room = room(&[("a", 1, MOST_COMPARED, true), ("b", 2, 1, false), ("c", 3, 1, true)]);
        let forms = ["a", "b", "c"].map(|it| room.form(&policy(it), Form::Service));
        assert_eq!(forms, [Some(Form::Service), None, Some(Form::Closed)]);
    }

    #[test]
    fn no_sum_is_too_large_to_count() {
        let room = room(&[("a", 1, usize::MAX, true), ("b", 2, usize::MAX, true)]);
        assert!(room.lacks(&policy("a")) && room.lacks(&policy("b")));
    }
}
