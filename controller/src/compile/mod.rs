//! From objects to configuration. Pure: no I/O, no clock; the same objects give the same output.
//!
//! The work is cut into queries, each a pure function of what it reads, declared in its own module. The engine
//! (`fairway_incremental`) runs again those that read what an edit changes, and then those that read what these made
//! (docs/decisions/0003 and 0011).

mod features;
mod gateway;
mod ignored;
mod inputs;
mod mesh;
mod names;
mod output;
mod policy;
mod pool;
mod program;
#[cfg(test)]
pub(crate) use program::example_of_fault;
mod route;
mod service;
mod settings;
mod stage;
mod waypoint;
mod workload;

#[cfg(test)]
mod tests;

pub use crate::provision::{Owner, Proxy, ProxyClass, ProxyService, Transport, Want, Wanted};
pub use output::Output;
pub use pool::{AddressPool, InvalidPool};
pub(crate) use settings::CONTROLLER_NAME;
pub use settings::{Capture, CompileSettings, Loopback, Mode};

use crate::diagnostic::Diagnostic;
use crate::resources::{Edit, ObjectRef, Resources};
use crate::status::ObjectStatus;
use fairway_config::model::{ObjectName, Resource, ResourceKey};
use fairway_incremental::{Changes, Engine};
use program::{Cluster, OutputKey, Product};
use std::collections::BTreeSet;

/// Compiles objects into configuration, one change at a time.
#[derive(Debug)]
pub struct Compiler {
    engine: Engine<Cluster>,
}

/// The sets in which objects stand by themselves, and the queries that objects and sets bring into being. A query that is
/// only read by others is not registered.
fn engine(settings: CompileSettings) -> Engine<Cluster> {
    let folders = [
        names::register,
        workload::register,
        gateway::register,
        waypoint::register,
        policy::register,
        route::register,
        service::register,
        mesh::register,
    ];
    folders.into_iter().fold(Engine::new(settings), |engine, register| register(engine))
}

impl Compiler {
    /// A compiler that has seen nothing yet.
    pub fn new(settings: CompileSettings) -> Self {
        Self { engine: engine(settings) }
    }

    /// Takes changes in and gives back what they change.
    pub fn apply(&mut self, edits: impl IntoIterator<Item = Edit>) -> Output {
        for edit in edits {
            match edit {
                Edit::Upsert(object) => self.engine.edit(object.reference(), Some(object)),
                Edit::Remove(object) => self.engine.edit(object, None),
            }
        }
        let implied = self.engine.members(&waypoint::Implied);
        let changes = self.engine.settle();
        let waypoints_changed = implied != self.engine.members(&waypoint::Implied);
        Output { waypoints_changed, ..Output::from(changes) }
    }

    /// The objects as they are now.
    pub fn objects(&self) -> &Resources {
        self.engine.inputs()
    }

    /// Every resource that proxies may be sent, in no particular order.
    pub fn resources(&self) -> impl Iterator<Item = (&ResourceKey, &Resource)> {
        self.engine.outputs().filter_map(|it| match it {
            (OutputKey::Resource(key), Product::Resource(it)) => Some((key, it)),
            _ => None,
        })
    }

    /// The status of every object that has one.
    pub fn statuses(&self) -> impl Iterator<Item = (&ObjectRef, &ObjectStatus)> {
        self.engine.outputs().filter_map(|it| match it {
            (OutputKey::Status(object), Product::Status(it)) => Some((object, &**it)),
            _ => None,
        })
    }

    /// The proxies that are wanted.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.engine.outputs().filter_map(|it| match it {
            (_, Product::Proxy(it)) => Some(&**it),
            _ => None,
        })
    }

    /// What has to be made in a cluster.
    pub fn wanted(&self) -> Wanted {
        let mut proxies: Vec<Proxy> = self.proxies().cloned().collect();
        proxies.sort_by(|a, b| a.name.cmp(&b.name));
        Wanted { proxies, waypoints: self.implied_waypoints() }
    }

    fn implied_waypoints(&self) -> BTreeSet<ObjectName> {
        self.engine.members(&waypoint::Implied).iter().map(ObjectRef::object_name).collect()
    }

    /// Everything that is wrong or worth knowing.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.engine.notes().map(|(_, it)| it)
    }

    /// How many instances of queries ran in the last [`Self::apply`]: the measure of being incremental.
    pub fn runs(&self) -> usize {
        self.engine.runs()
    }

    /// How many instances of queries are remembered.
    #[cfg(test)]
    fn instances(&self) -> usize {
        self.engine.instances()
    }
}

impl From<Changes<Cluster>> for Output {
    fn from(changes: Changes<Cluster>) -> Self {
        let mut output = Self::default();
        for (key, now) in changes.outputs {
            match (key, now) {
                (_, Some(Product::Resource(it))) => output.upserts.push(it),
                (_, Some(Product::Proxy(it))) => output.proxies.push(*it),
                (OutputKey::Status(object), Some(Product::Status(it))) => output.statuses.push((object, *it)),
                (OutputKey::Resource(key), None) => output.removals.push(key),
                (OutputKey::Status(object), None) => output.unjudged.push(object),
                (OutputKey::Proxy(name), None) => output.retired.push(name),
                // A status is made under the key of a status.
                (OutputKey::Resource(_) | OutputKey::Proxy(_), Some(Product::Status(_))) => {}
            }
        }
        output.problems = changes.notes;
        output.faults = changes.faults.iter().map(ToString::to_string).collect();
        output
    }
}
