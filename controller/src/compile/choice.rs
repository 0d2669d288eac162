//! Which proxy is the waypoint of a namespace, and whether traffic has been moved to it.
//!
//! Make before break: traffic moves to a waypoint when it has been ready once, never before; from then on nothing goes
//! around it, whatever becomes of its pods. That it has been ready is kept in its Gateway's status.

use super::evaluation::{Evaluation, Value};
use super::index::IndexKey;
use super::output::ProxyClass;
use super::reader::Reader;
use super::settings::{Mode, Settings};
use super::workload::{IMPLIED_WAYPOINT, OTHER_IMPLIED_WAYPOINT};
use crate::resources::{Kind, ObjectRef};
use fairway_config::model::ObjectName;
use std::sync::Arc;

/// The proxy that is, or would be, the waypoint of a namespace.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    /// Its Gateway, or the name that one would have.
    pub gateway: ObjectName,
    /// Whose it is.
    pub origin: Origin,
    /// Whether traffic goes through it.
    pub bound: bool,
}

/// Where a waypoint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// A user wrote its Gateway.
    Written,
    /// We made its Gateway.
    Made,
    /// No Gateway stands behind it (yet).
    Nothing,
}

/// Chooses: of those that have been ready the one that a user wrote, else ours; if none has been, the same.
pub(super) fn evaluate(reader: &mut Reader<'_>, namespace: &Arc<str>) -> Evaluation {
    let settings = reader.settings();
    let choice = among_gateways(reader, namespace, &settings).unwrap_or_else(|| Choice {
        gateway: implied_name(reader, namespace),
        // On one machine whoever starts it waits for it.
        bound: settings.mode == Mode::Standalone,
        ..Choice::nobody(namespace)
    });
    Evaluation { value: Value::Choice(Arc::new(choice)), ..Evaluation::default() }
}

fn among_gateways(reader: &mut Reader<'_>, namespace: &Arc<str>, settings: &Settings) -> Option<Choice> {
    let gateways = reader.members(IndexKey::Gateways(settings.waypoint_class.clone(), namespace.clone()));
    let mut found = Vec::new();
    for it in gateways.iter() {
        // Also one that is not in order: around it would be a way around its rules.
        let Some(gateway) = reader.gateway(&it.object_name()) else { continue };
        if reader.gateway_plan(&it.object_name()).is_none() {
            continue;
        }
        let bound = settings.mode == Mode::Standalone || is_bound(reader, &it.object_name(), gateway.bound);
        let origin = if gateway.is_implied() { Origin::Made } else { Origin::Written };
        found.push((!bound, origin, gateway.meta.created, it.object_name()));
    }
    let (not_bound, origin, _, gateway) = found.into_iter().min()?;
    Some(Choice { gateway, origin, bound: !not_bound })
}

/// Whether traffic has been moved to a waypoint, or may be now: a pod is ready once it has its whole configuration.
pub(super) fn is_bound(reader: &mut Reader<'_>, gateway: &ObjectName, was: bool) -> bool {
    was || reader.proxy_pods(gateway, ProxyClass::Waypoint).pods.iter().any(|it| it.ready)
}

/// The name of a waypoint that nobody wrote a Gateway for.
fn implied_name(reader: &mut Reader<'_>, namespace: &Arc<str>) -> ObjectName {
    let usual = ObjectName::new(namespace.clone(), IMPLIED_WAYPOINT);
    match reader.meta(&ObjectRef::of(Kind::Gateway, &usual)) {
        None => usual,
        // Somebody's Gateway has the name already.
        Some(_) => ObjectName::new(namespace.clone(), OTHER_IMPLIED_WAYPOINT),
    }
}

// === impl Choice ===

impl Choice {
    /// Where nothing is known.
    pub(super) fn nobody(namespace: &Arc<str>) -> Self {
        let gateway = ObjectName::new(namespace.clone(), IMPLIED_WAYPOINT);
        Self { gateway, origin: Origin::Nothing, bound: false }
    }
}
