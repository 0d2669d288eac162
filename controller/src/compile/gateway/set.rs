//! ListenerSets: listeners that others add to a Gateway (GEP-1713).

use super::ListenerPlan;
use crate::compile::evaluation::{Evaluation, Value};
use crate::compile::reader::Reader;
use fairway_config::model::ObjectName;
use std::sync::Arc;

/// What routes see of a ListenerSet whose Gateway is ours. A route whose parent is the ListenerSet attaches to these
/// listeners only, a route whose parent is the Gateway only to those of its `GatewayPlan`. Those of a ListenerSet that
/// its Gateway does not take, or that lost against others, are here too, and are not `programmed`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct ListenerSetPlan {
    /// The Gateway it adds to.
    pub gateway: ObjectName,
    /// Its listeners, in the user's order.
    pub listeners: Vec<ListenerPlan>,
}

/// Keeps what routes see of a ListenerSet.
pub(in crate::compile) fn publish_set(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(set) = reader.listener_set(name) else { return made };
    let Some(gateway) = set.spec.gateway(&set.meta.namespace) else { return made };
    let Some(report) = reader.gateway_report(&gateway) else { return made };
    if let Some(plan) = report.sets.get(name) {
        made.value = Value::ListenerSet(plan.clone());
    }
    made
}
