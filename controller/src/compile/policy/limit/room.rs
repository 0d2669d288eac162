//! How many limits the policies of one object have together. Each policy has a bound of its own, and an object may have any number of
//! policies; what they count is counted for each request, on threads that all tenants of a proxy share.
//!
//! The oldest policies come first. What an object has no room for is not carried out in part: the object is closed.

use super::{is_enforced, spec};
use crate::compile::policy::access::room::{Claim, Room, values_of_operation};
use crate::compile::policy::attach;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::rate_limit_policy::{LocalLimit, RateLimitPolicySpec};
use crate::resources::{ObjectRef, RateLimitPolicy};
use fairway_config::model::ObjectName;
use fairway_incremental::Query;
use std::collections::BTreeSet;
use std::sync::Arc;

/// As many limits the policies of one object have, if these compare nothing.
pub(super) const MOST_LIMITS: usize = 64;
/// As many values cost what a limit costs.
const OF_LIMIT: usize = 32;

/// What a policy adds to that.
struct Counts;

impl Query<Cluster> for Counts {
    type Key = ObjectName;
    type Value = Claim;
    const STAGE: u8 = stage::SELECTORS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, _: &mut Made) -> Claim {
        let Some(policy) = reader.input::<RateLimitPolicy>(name) else { return Claim::default() };
        Claim::new(policy.meta.created, spec(&policy).map_or(0, cost), is_enforced(&policy))
    }
}

/// The policies that an object has no room for.
pub(super) struct OfObject;

impl Query<Cluster> for OfObject {
    type Key = ObjectRef;
    type Value = Arc<Room>;
    const STAGE: u8 = stage::SUMS;

    fn run(target: &ObjectRef, reader: &mut Reader<'_>, _: &mut Made) -> Arc<Room> {
        let policies: BTreeSet<ObjectRef> =
            attach::attached::<RateLimitPolicy>(reader, target).into_iter().map(|it| it.policy).collect();
        let claims = policies.into_iter().map(|it| (reader.get::<Counts>(&it.object_name()), it)).collect();
        Arc::new(Room::from_claims(claims, MOST_LIMITS * OF_LIMIT))
    }
}

/// What the limits of a policy cost a request at most, in values that are compared.
fn cost(spec: &RateLimitPolicySpec) -> usize {
    let limit =
        |it: &LocalLimit| OF_LIMIT + it.matches.iter().flatten().map(values_of_operation).sum::<usize>();
    spec.local.iter().map(limit).sum()
}
