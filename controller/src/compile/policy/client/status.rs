//! What a policy is told, target by target.

use super::defect::Defect;
use super::review::Review;
use crate::compile::policy::status::AtTargets;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::{ClientPolicy, Kind, ObjectRef};
use fairway_config::model::ObjectName;
use fairway_incremental::{OfInput, Query};

/// Puts the status together.
pub(in crate::compile) struct Status;

impl Query<Cluster> for Status {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::CONSEQUENCES;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<ClientPolicy>(name) else { return };
        let object = ObjectRef::from_name(Kind::ClientPolicy, name);
        let mut at_targets = AtTargets::default();
        for (index, target) in policy.spec.targets.iter().enumerate() {
            let field = format!("spec.targetRefs[{index}]");
            let review = Review { name: &object, policy: &policy, target, field: &field };
            let Some((ancestor, at_target)) = review.run(reader, made) else { continue };
            at_targets.add(&object, ancestor, at_target, made);
        }
        // Each target is told what follows there from what is wrong with the policy.
        if at_targets.is_empty()
            && let Some(defect) = Defect::first(&policy)
        {
            made.report(&object, defect.told("; no listener that Fairway serves is among its targets"));
        }
        at_targets.publish(&object, &[], policy.meta.generation, &reader.settings(), made);
    }
}

impl OfInput<Cluster> for Status {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::ClientPolicy).then(|| name.object_name())
    }
}
