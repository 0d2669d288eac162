//! From objects to configuration. Pure: no I/O, no clock; the same objects give the same output.
//!
//! The work is cut into units (`Unit`), each a pure function that reads through a `Reader` which notes what was read.
//! An edit runs again only the units whose reads changed, and then those that read what these made (docs/decisions/0003).

mod authorization;
mod backend_tls;
mod binding;
mod certificate;
mod choice;
mod class;
mod conflict;
mod endpoints;
mod engine;
mod evaluation;
mod features;
mod gateway;
mod grant;
mod ignored;
mod index;
mod mesh;
mod output;
mod parameters;
mod parent_service;
mod passes;
mod pool;
mod proxy;
mod reader;
mod readership;
mod reference;
mod route;
mod service;
mod settings;
mod shadow;
mod slice_address;
mod unhandled;
mod unit;
mod waypoint;
mod workload;

#[cfg(test)]
mod tests;

pub use output::{Output, Owner, Proxy, ProxyClass, ProxyService, Transport, Want, Wanted};
pub use pool::{AddressPool, InvalidPool};
pub(crate) use route::parse_duration;
pub(crate) use settings::CONTROLLER_NAME;
pub use settings::{Capture, Loopback, Mode, Settings};

use crate::diagnostic::Diagnostic;
use crate::resources::{Edit, ObjectRef, Resources};
use crate::status::ObjectStatus;
use engine::Engine;
use fairway_config::model::{Resource, ResourceKey};

/// Compiles objects into configuration, one change at a time.
#[derive(Debug)]
pub struct Compiler {
    engine: Engine,
}

impl Compiler {
    /// A compiler that has seen nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { engine: Engine::new(settings) }
    }

    /// Takes changes in and gives back what they change.
    pub fn apply(&mut self, edits: impl IntoIterator<Item = Edit>) -> Output {
        for edit in edits {
            self.engine.edit(edit);
        }
        self.engine.settle()
    }

    /// The objects as they are now.
    pub fn objects(&self) -> &Resources {
        self.engine.objects()
    }

    /// The whole configuration.
    pub fn resources(&self) -> impl Iterator<Item = (&ResourceKey, &Resource)> {
        self.engine.resources()
    }

    /// The status of every object that has one.
    pub fn statuses(&self) -> impl Iterator<Item = (&ObjectRef, &ObjectStatus)> {
        self.engine.statuses()
    }

    /// The proxies that are wanted.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.engine.proxies()
    }

    /// What has to be made in a cluster.
    pub fn wanted(&self) -> Wanted {
        let mut proxies: Vec<Proxy> = self.proxies().cloned().collect();
        proxies.sort_by(|a, b| a.name.cmp(&b.name));
        Wanted { proxies, waypoints: self.engine.implied_waypoints() }
    }

    /// Everything that is wrong or worth knowing.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.engine.problems()
    }

    /// How many units ran in the last [`Self::apply`]: the measure of being incremental.
    pub fn units_run(&self) -> usize {
        self.engine.units_run()
    }

    /// How many units are remembered.
    #[cfg(test)]
    fn units_held(&self) -> usize {
        self.engine.units_held()
    }
}
