//! Which proxy is the waypoint of a namespace, and whether traffic has been moved to it.
//!
//! Make before break: traffic moves to a waypoint when it has been ready once, never before; from then on nothing goes
//! around it, whatever becomes of its pods. That it has been ready is kept in its Gateway's status.

use crate::compile::names::waypoint::{IMPLIED_WAYPOINT, OTHER_IMPLIED_WAYPOINT};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::settings::{CompileSettings, Mode};
use crate::compile::{gateway, inputs, stage};
use crate::resources::{Gateway, Kind, Object, ObjectRef};
use fairway_config::model::ObjectName;
use fairway_incremental::{Query, Set};
use std::sync::Arc;

/// Gateways of a class in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct GatewaysOfClass(pub Arc<str>, pub Arc<str>);

impl Set<Cluster> for GatewaysOfClass {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        match object {
            Object::Gateway(it) => {
                let class = it.spec.gateway_class_name.as_str().into();
                vec![(Self(class, name.namespace.clone()), name.clone())]
            }
            _ => Vec::new(),
        }
    }
}

/// The proxy that is, or would be, the waypoint of a namespace.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct Choice {
    /// Its Gateway, or the name that one would have.
    pub gateway: ObjectName,
    pub origin: Origin,
    /// Whether traffic goes through it.
    pub bound: bool,
}

/// Where a waypoint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) enum Origin {
    /// A user wrote its Gateway.
    Written,
    /// We made its Gateway.
    Made,
    /// No Gateway stands behind it (yet).
    Nothing,
}

/// Chooses: of those that have been ready the one that a user wrote, else ours; if none has been, the same.
pub(in crate::compile) struct Choose;

impl Query<Cluster> for Choose {
    type Key = Arc<str>;
    type Value = Arc<Choice>;
    const STAGE: u8 = stage::CLAIMS;

    fn run(namespace: &Arc<str>, reader: &mut Reader<'_>, _: &mut Made) -> Arc<Choice> {
        let settings = reader.settings();
        let choice = among_gateways(reader, namespace, &settings).unwrap_or_else(|| Choice {
            gateway: implied_name(reader, namespace),
            // On one machine whoever starts it waits for it.
            bound: settings.mode == Mode::Standalone,
            ..Choice::nobody(namespace)
        });
        Arc::new(choice)
    }
}

fn among_gateways(
    reader: &mut Reader<'_>,
    namespace: &Arc<str>,
    settings: &CompileSettings,
) -> Option<Choice> {
    let gateways = reader.members(&GatewaysOfClass(settings.waypoint_class.clone(), namespace.clone()));
    let mut found = Vec::new();
    for it in gateways.iter() {
        // Also one that is not in order: around it would be a way around its rules.
        let Some(gateway) = reader.input::<Gateway>(&it.object_name()) else { continue };
        if reader.get::<gateway::Publish>(&it.object_name()).is_none() {
            continue;
        }
        let bound = settings.mode == Mode::Standalone
            || gateway::waypoint::is_bound(reader, &it.object_name(), gateway.bound);
        let origin = if gateway.is_implied() { Origin::Made } else { Origin::Written };
        found.push((!bound, origin, gateway.meta.created, it.object_name()));
    }
    let (not_bound, origin, _, gateway) = found.into_iter().min()?;
    Some(Choice { gateway, origin, bound: !not_bound })
}

/// The name of a waypoint that nobody wrote a Gateway for.
fn implied_name(reader: &mut Reader<'_>, namespace: &Arc<str>) -> ObjectName {
    let usual = ObjectName::new(namespace.clone(), IMPLIED_WAYPOINT);
    match inputs::meta(reader, &ObjectRef::from_name(Kind::Gateway, &usual)) {
        None => usual,
        // Somebody's Gateway has the name already.
        Some(_) => ObjectName::new(namespace.clone(), OTHER_IMPLIED_WAYPOINT),
    }
}

// === impl Choice ===

impl Choice {
    /// Where nobody wrote a Gateway.
    fn nobody(namespace: &Arc<str>) -> Self {
        let gateway = ObjectName::new(namespace.clone(), IMPLIED_WAYPOINT);
        Self { gateway, origin: Origin::Nothing, bound: false }
    }
}

/// Of a run that does not count: see `Reader::get`.
impl Default for Choice {
    fn default() -> Self {
        Self::nobody(&"".into())
    }
}
