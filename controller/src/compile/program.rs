//! The types that the queries of the compiler share.

use crate::compile::settings::CompileSettings;
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::Proxy;
use crate::resources::{Object, ObjectRef, Resources};
use crate::status::ObjectStatus;
use fairway_config::model::{ObjectName, Resource, ResourceKey};
use fairway_incremental::{Effects, Fault, Inputs, Memberships, Program, Set};

/// The compiler, as a program of queries: a cluster's objects in, resources for proxies, statuses and proxies out.
pub(super) struct Cluster;

/// What a query reads through; see `fairway_incremental::Reader`.
pub(super) type Reader<'e> = fairway_incremental::Reader<'e, Cluster>;

/// Names a resource, a status or a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum OutputKey {
    Resource(ResourceKey),
    Status(ObjectRef),
    Proxy(ObjectName),
}

/// An output. What is large is boxed, because thousands are held.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Product {
    Resource(Resource),
    Status(Box<ObjectStatus>),
    Proxy(Box<Proxy>),
}

/// What a query makes beside its value.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The resources of proxies.
    pub resources: Vec<Resource>,
    /// What is to be written into `status` of objects.
    pub statuses: Vec<(ObjectRef, ObjectStatus)>,
    /// The proxies that are wanted.
    pub proxies: Vec<Proxy>,
    /// What is wrong, and with which object.
    problems: Vec<(ObjectRef, Diagnostic)>,
    /// The sets into which it puts objects.
    sets: Memberships<Cluster>,
}

// === impl Cluster ===

impl Program for Cluster {
    type Settings = CompileSettings;
    type Name = ObjectRef;
    type Object = Object;
    type Inputs = Resources;
    type OutputKey = OutputKey;
    type Output = Product;
    type Note = Diagnostic;
    type Made = Made;

    fn note_of(fault: &Fault<ObjectRef>) -> Option<(ObjectRef, Diagnostic)> {
        let about = fault.about.clone()?;
        let message = format!("an error in Fairway: {fault}; what was in force before stays as it is");
        let remedy = "report it to Fairway's developers, with the object";
        Some((about.clone(), Diagnostic::error(Reason::QueryFault, "", message, remedy).about(&about)))
    }
}

/// A fault in the compiler itself, which no object provokes.
#[cfg(test)]
pub(crate) fn example_of_fault() -> Diagnostic {
    let read = "compile::route::Attach";
    let fault = Fault {
        query: "compile::gateway::Listen",
        key: "Gateway edge/public".to_owned(),
        about: Some(ObjectRef::new(crate::resources::Kind::Gateway, "edge", "public")),
        cause: fairway_incremental::Cause::ReadsTooEarly { stage: 2, read, read_stage: 4 },
    };
    Cluster::note_of(&fault)
        .map(|(_, diagnostic)| diagnostic)
        .unwrap_or_else(|| unreachable!("it is about an object"))
}

impl Inputs<ObjectRef, Object> for Resources {
    fn get(&self, name: &ObjectRef) -> Option<&Object> {
        self.get(name)
    }

    fn insert(&mut self, _: ObjectRef, object: Object) -> Option<Object> {
        self.insert(object)
    }

    fn remove(&mut self, name: &ObjectRef) -> Option<Object> {
        self.remove(name)
    }
}

// === impl Made ===

impl Made {
    /// Adds what is wrong with an object.
    pub(super) fn report(&mut self, object: &ObjectRef, diagnostic: Diagnostic) {
        self.problems.push((object.clone(), diagnostic.about(object)));
    }

    /// Puts an object into a set.
    pub(super) fn put<S: Set<Cluster, Member = ObjectRef>>(&mut self, set: S, object: ObjectRef) {
        self.sets.put(set, object);
    }
}

impl From<Made> for Effects<Cluster> {
    fn from(made: Made) -> Self {
        let resources =
            made.resources.into_iter().map(|it| (OutputKey::Resource(it.key()), Product::Resource(it)));
        let status = |(of, it)| (OutputKey::Status(of), Product::Status(Box::new(it)));
        let proxy = |it: Proxy| (OutputKey::Proxy(it.name.clone()), Product::Proxy(Box::new(it)));
        let statuses = made.statuses.into_iter().map(status);
        let outputs = resources.chain(statuses).chain(made.proxies.into_iter().map(proxy));
        Self { outputs: outputs.collect(), notes: made.problems, memberships: made.sets }
    }
}
