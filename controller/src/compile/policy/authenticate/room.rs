//! How many policies one object may have. What they ask is asked for each request, on threads that all tenants of a proxy share.
//!
//! The oldest policies come first. What an object has no room for is not carried out in part: the object is closed.

use super::is_enforced;
use crate::compile::policy::access::room::{Claim, Room};
use crate::compile::policy::attach;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::{AuthenticationPolicy, ObjectRef};
use fairway_config::model::ObjectName;
use fairway_incremental::Query;
use std::collections::BTreeSet;
use std::sync::Arc;

/// As many policies of one object are carried out.
pub(super) const MOST_POLICIES: usize = 16;

/// What a policy adds to that.
struct Counts;

impl Query<Cluster> for Counts {
    type Key = ObjectName;
    type Value = Claim;
    const STAGE: u8 = stage::SELECTORS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, _: &mut Made) -> Claim {
        let Some(policy) = reader.input::<AuthenticationPolicy>(name) else { return Claim::default() };
        Claim::new(policy.meta.created, 1, is_enforced(&policy))
    }
}

/// The policies that an object has no room for.
pub(super) struct OfObject;

impl Query<Cluster> for OfObject {
    type Key = ObjectRef;
    type Value = Arc<Room>;
    const STAGE: u8 = stage::SUMS;

    fn run(target: &ObjectRef, reader: &mut Reader<'_>, _: &mut Made) -> Arc<Room> {
        let attached = attach::attached::<AuthenticationPolicy>(reader, target);
        let policies: BTreeSet<ObjectRef> = attached.into_iter().map(|it| it.policy).collect();
        let claims = policies.into_iter().map(|it| (reader.get::<Counts>(&it.object_name()), it)).collect();
        Arc::new(Room::from_claims(claims, MOST_POLICIES))
    }
}
