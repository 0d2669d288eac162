//! Which policies name an object.

use super::target::{Level, Target, TargetRef, resolve};
use crate::compile::program::{Cluster, Reader};
use crate::resources::{Kind, Meta, Object, ObjectRef, for_each_kind};
use fairway_config::model::ObjectName;
use fairway_incremental::{Input, Set};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A kind of policies.
pub(in crate::compile) trait Policy: Input<Cluster, Key = ObjectName> {
    /// The kind of its objects.
    const KIND: Kind;
    /// The levels at which it acts. What it names at others has no effect.
    const LEVELS: &'static [Level];

    /// Name, namespace and age of a policy.
    fn meta(&self) -> &Meta;
    /// Its `targetRefs`, as written.
    fn target_refs(&self) -> Vec<TargetRef<'_>>;
}

/// Policies of a kind that name an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct Attached {
    pub policies: Kind,
    pub target: ObjectRef,
}

/// A policy and the part of an object that it names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) struct Attachment {
    /// When the policy was made: the order in which policies of one kind go before each other.
    pub created: i64,
    pub policy: ObjectRef,
    /// None is the whole object.
    pub section: Option<Arc<str>>,
}

impl Set<Cluster> for Attached {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        // A policy may name several sections of one object.
        let objects: BTreeSet<ObjectRef> = targets_of(object).into_iter().map(|it| it.object).collect();
        objects.into_iter().map(|it| (Self { policies: name.kind, target: it }, name.clone())).collect()
    }
}

macro_rules! policies {
    (objects $objects:tt policies { $($(#[$doc:meta])* $name:ident $columns:tt)+ } unhandled $unhandled:tt) => {
        /// What an object acts on as a policy. The kinds of policies are those of the table in `resources`.
        fn targets_of(object: &Object) -> Vec<Target> {
            match object {
                $(Object::$name(it) => targets(&**it),)+
                _ => Vec::new(),
            }
        }
    };
}

for_each_kind!(policies);

/// What a policy acts on, in the user's order.
pub(in crate::compile) fn targets<P: Policy>(policy: &P) -> Vec<Target> {
    let namespace = &policy.meta().namespace;
    let resolved = policy.target_refs().into_iter().filter_map(|it| resolve(namespace, it));
    resolved.filter(|it| P::LEVELS.contains(&it.level)).collect()
}

/// The Services that a policy names.
pub(in crate::compile) fn services<P: Policy>(policy: &P) -> Vec<ObjectRef> {
    let named = targets(policy).into_iter().map(|it| it.object);
    named.filter(|it| it.kind == Kind::Service).collect()
}

/// Whether a policy of a kind that counts names an object.
pub(in crate::compile) fn is_held<P: Policy>(
    reader: &mut Reader<'_>,
    target: &ObjectRef,
    counts: impl Fn(&P) -> bool,
) -> bool {
    if !is_attached::<P>(reader, target) {
        return false;
    }
    attached::<P>(reader, target)
        .iter()
        .any(|it| reader.input::<P>(&it.policy.object_name()).is_some_and(|policy| counts(&policy)))
}

/// Whether a policy of a kind names an object. Asked first, because most objects have no policy, and then nothing
/// more has to be computed and remembered.
pub(in crate::compile) fn is_attached<P: Policy>(reader: &mut Reader<'_>, target: &ObjectRef) -> bool {
    reader.count(&Attached { policies: P::KIND, target: target.clone() }) > 0
}

/// The policies of a kind that name an object or a section of it: the oldest first, then by name.
pub(in crate::compile) fn attached<P: Policy>(
    reader: &mut Reader<'_>,
    target: &ObjectRef,
) -> Vec<Attachment> {
    let mut found = Vec::new();
    for object in reader.members(&Attached { policies: P::KIND, target: target.clone() }).iter() {
        let Some(policy) = reader.input::<P>(&object.object_name()) else { continue };
        let created = policy.meta().created;
        let here = targets(&*policy).into_iter().filter(|it| it.object == *target);
        found.extend(here.map(|it| Attachment { created, policy: object.clone(), section: it.section }));
    }
    found.sort();
    found.dedup();
    found
}
