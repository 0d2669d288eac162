//! Who serves a route that policies name.

use crate::compile::program::{Cluster, Reader};
use crate::resources::ObjectRef;
use fairway_incremental::Set;

/// Gateways that serve a route which policies name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct RouteGateways(pub ObjectRef);

impl Set<Cluster> for RouteGateways {
    type Member = ObjectRef;
}

/// Services whose waypoints serve a route which policies name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct RouteServices(pub ObjectRef);

impl Set<Cluster> for RouteServices {
    type Member = ObjectRef;
}

/// Parents that cannot be read, of a route which policies name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct HeldParents(pub ObjectRef);

impl Set<Cluster> for HeldParents {
    type Member = ObjectRef;
}

/// Whether a route is served by nobody but by Gateways that cannot be read, as far as is known.
pub(in crate::compile::policy) fn is_of_held(reader: &mut Reader<'_>, route: &ObjectRef) -> bool {
    reader.count(&HeldParents(route.clone())) > 0
        && reader.count(&RouteGateways(route.clone())) == 0
        && reader.count(&RouteServices(route.clone())) == 0
}
