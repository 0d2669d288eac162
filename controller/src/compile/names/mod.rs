//! What things are called: the names and keys under which objects stand in the configuration, and the references between objects.

pub(in crate::compile) mod absent;
pub(in crate::compile) mod access;
pub(in crate::compile) mod authentication;
pub(in crate::compile) mod backend;
pub(in crate::compile) mod class;
pub(in crate::compile) mod grant;
pub(in crate::compile) mod limit;
pub(in crate::compile) mod protocol;
pub(in crate::compile) mod secured;
pub(in crate::compile) mod service;
pub(in crate::compile) mod waypoint;

use crate::compile::program::Cluster;
use fairway_incremental::Engine;

/// What is registered with the engine.
pub(in crate::compile) fn register(engine: Engine<Cluster>) -> Engine<Cluster> {
    engine.set::<grant::Grants>().set::<absent::UnreadGrants>().set::<secured::SecuredBy>()
}
