//! Which pods a policy names. Found by pod, so that an edit of a pod does not make each policy look at all pods.

use super::misplaced_field;
use super::room::{PodsHaveRoom, PodsWithoutRoom, Room};
use crate::compile::names::access::Form;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::compile::workload::PodPolicies;
use crate::resources::access_policy::PolicyTarget;
use crate::resources::{AccessPolicy, Kind, Object, ObjectRef, Pod, Selector};
use fairway_config::model::ObjectName;
use fairway_incremental::{Query, Set};
use std::sync::Arc;

/// The policies of a namespace that name pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct OfPods(pub Arc<str>);

impl Set<Cluster> for OfPods {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        match object {
            Object::AccessPolicy(it) if it.spec.targets.iter().any(is_pods) => {
                vec![(Self(name.namespace.clone()), name.clone())]
            }
            _ => Vec::new(),
        }
    }
}

/// The pods that a target of a policy selects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct SelectedPods {
    pub policy: ObjectName,
    /// Its place among the targets.
    pub target: usize,
}

impl Set<Cluster> for SelectedPods {
    type Member = ObjectRef;
}

/// The pods that one target of a policy selects, and the form that the policy has there.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct PodSelection {
    /// Its place among the targets.
    target: usize,
    labels: Selector,
    /// The one pod that it names, though pods are selected by labels.
    name: Option<Arc<str>>,
    form: Form,
}

/// The targets of a policy that are pods. What else a policy says is no pod's business: an edit of its rules looks at no pod.
pub(in crate::compile) struct Selectors;

impl Query<Cluster> for Selectors {
    type Key = ObjectName;
    type Value = Arc<[PodSelection]>;
    const STAGE: u8 = stage::SELECTORS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, _: &mut Made) -> Self::Value {
        let Some(policy) = reader.input::<AccessPolicy>(name) else { return Arc::default() };
        let targets = policy.spec.targets.iter().enumerate().filter(|(_, it)| is_pods(it));
        targets.map(|(index, it)| PodSelection::read(index, it)).collect()
    }
}

/// Puts the policies that name a pod where its tunnel and they themselves find that.
pub(in crate::compile) fn select(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
    let policies = reader.members(&OfPods(name.namespace.clone()));
    if policies.is_empty() {
        return;
    }
    let Some(pod) = reader.input::<Pod>(name) else { return };
    let object = ObjectRef::from_name(Kind::Pod, name);
    let mut selecting = Vec::new();
    for it in policies.iter() {
        let policy = it.object_name();
        let mut form = None;
        for selection in reader.get::<Selectors>(&policy).iter().filter(|it| it.selects(name, &pod)) {
            // One target that cannot be carried out closes, whatever another says.
            form = form.max(Some(selection.form));
            let selected = SelectedPods { policy: policy.clone(), target: selection.target };
            made.put(selected, object.clone());
        }
        selecting.extend(form.map(|form| (it.clone(), form)));
    }
    let room = match reader.get::<PodsHaveRoom>(&name.namespace) {
        true => Room::default(),
        false => Room::among(reader, selecting.iter().map(|(it, _)| it.clone())),
    };
    for (it, form) in selecting {
        if room.lacks(&it) {
            made.put(PodsWithoutRoom(it.object_name()), object.clone());
        }
        if let Some(form) = room.form(&it, form) {
            made.put(PodPolicies { pod: name.clone(), form }, it);
        }
    }
}

fn is_pods(target: &PolicyTarget) -> bool {
    Kind::named(&target.group, &target.kind) == Some(Kind::Pod)
}

// === impl PodSelection ===

impl PodSelection {
    /// Without labels it selects all pods.
    fn read(index: usize, target: &PolicyTarget) -> Self {
        let labels = target.selector.iter().flat_map(|it| &it.match_labels);
        Self {
            target: index,
            labels: Selector::of_labels(labels.map(|(key, value)| (key.as_str(), value.as_str()))),
            name: target.name.as_deref().map(Into::into),
            form: if misplaced_field(target).is_none() { Form::Pod } else { Form::Closed },
        }
    }

    fn selects(&self, name: &ObjectName, pod: &Pod) -> bool {
        self.name.as_ref().is_none_or(|it| *it == name.name) && self.labels.matches(&pod.meta.labels)
    }
}
