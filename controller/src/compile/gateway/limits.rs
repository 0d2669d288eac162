//! The limits of policies at the listeners of Gateways and ListenerSets.

use super::{Check, ListenerPlan, Protocol};
use crate::compile::names::limit::LimitForm;
use crate::compile::program::{Cluster, Reader};
use crate::resources::{Kind, ObjectRef};
use fairway_config::model::{ListenerKey, ObjectName, RateLimitKey};
use fairway_incremental::Set;
use std::sync::Arc;

/// Policies that count what comes by the listeners of a Gateway or a ListenerSet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct CountedBy {
    /// The Gateway or ListenerSet.
    pub object: ObjectRef,
    /// None is all of its listeners.
    pub listener: Option<Arc<str>>,
    /// The form that the policies have there.
    pub form: LimitForm,
}

impl Set<Cluster> for CountedBy {
    type Member = ObjectRef;
}

/// A listener that policies of an object are about.
pub(in crate::compile) struct CountedListener {
    pub name: Arc<str>,
    pub key: ListenerKey,
    /// Whether requests are seen there, or bytes.
    pub carries_requests: bool,
}

/// The limits that count what comes by a listener of an object, which a Gateway serves: first those of the Gateway, which hold for the
/// listeners that ListenerSets add to it as well, then those of the object, then the listener's own.
///
/// Limits of all listeners together count requests: a listener that carries bytes is not among those that they are about, unless it is
/// named or all is closed.
pub(in crate::compile) fn limits(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    object: &ObjectRef,
    listener: &Arc<str>,
    carries_requests: bool,
) -> Vec<RateLimitKey> {
    let gateway = ObjectRef::from_name(Kind::Gateway, gateway);
    let mut places = vec![(gateway.clone(), None)];
    places.extend((*object != gateway).then(|| (object.clone(), None)));
    places.push((object.clone(), Some(listener.clone())));
    let mut limits = Vec::new();
    for (object, listener) in places {
        for form in [LimitForm::Counting, LimitForm::Closed] {
            if !carries_requests && listener.is_none() && form == LimitForm::Counting {
                continue;
            }
            let set = CountedBy { object: object.clone(), listener: listener.clone(), form };
            let key = |it: &ObjectRef| form.key(&it.object_name(), &object, listener.as_deref());
            limits.extend(reader.members(&set).iter().map(key));
        }
    }
    limits
}

/// The own listeners of a Gateway or a ListenerSet that policies are about, or the one of this name.
pub(in crate::compile) fn counted_listeners(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    object: &ObjectRef,
    section: Option<&str>,
) -> Vec<CountedListener> {
    let Some(report) = reader.get::<Check>(gateway) else { return Vec::new() };
    let is_set = object.kind == Kind::ListenerSet;
    let own = report.plan.listeners.iter().filter(|_| !is_set);
    // Limits of a Gateway count what comes by listeners of its ListenerSets as well. These are others' business: no status depends on them.
    let of_sets = report.sets.iter().filter(|(name, _)| is_set && **name == object.object_name());
    let of_sets = of_sets.flat_map(|(_, set)| set.plan.listeners.iter());
    let named = own.chain(of_sets).filter(|it| section.is_none_or(|name| *it.name == *name));
    let counted = |it: &ListenerPlan| CountedListener {
        name: it.name.clone(),
        key: it.key.clone(),
        carries_requests: carries_requests(it),
    };
    named.map(counted).collect()
}

/// Whether requests are seen at a listener.
pub(in crate::compile) fn carries_requests(plan: &ListenerPlan) -> bool {
    matches!(plan.protocol, Some(Protocol::Http | Protocol::Https))
}
