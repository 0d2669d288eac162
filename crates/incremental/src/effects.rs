//! What a run makes beside a value.

use crate::engine::Engine;
use crate::program::{Program, Set};
use crate::table::SetId;
use std::fmt;

/// What a run makes beside a value.
pub struct Effects<P: Program> {
    /// Outputs, each under its key. Of two with one key the last counts.
    pub outputs: Vec<(P::OutputKey, P::Output)>,
    /// What is said of inputs.
    pub notes: Vec<(P::Name, P::Note)>,
    /// The inputs that are put into sets.
    pub memberships: Memberships<P>,
}

/// Inputs to be put into sets.
pub struct Memberships<P: Program>(Vec<(Box<dyn AnySet<P>>, P::Name)>);

/// A set of any type.
trait AnySet<P: Program>: Send {
    /// Finds the set; it is there from now on.
    fn find(&self, engine: &mut Engine<P>) -> SetId;
}

impl<P: Program, S: Set<P>> AnySet<P> for S {
    fn find(&self, engine: &mut Engine<P>) -> SetId {
        engine.find_set(self)
    }
}

// === impl Memberships ===

impl<P: Program> Memberships<P> {
    /// Puts an input into a set.
    pub fn put<S: Set<P, Member = P::Name>>(&mut self, set: S, member: P::Name) {
        self.0.push((Box::new(set), member));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order, each once: a query may find the same thing twice.
    pub(crate) fn find(self, engine: &mut Engine<P>) -> Box<[(SetId, P::Name)]> {
        let find = |(set, member): (Box<dyn AnySet<P>>, P::Name)| (set.find(engine), member);
        let mut found: Vec<_> = self.0.into_iter().map(find).collect();
        found.sort_unstable();
        found.dedup();
        found.into_boxed_slice()
    }
}

impl<P: Program> Default for Memberships<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<P: Program> fmt::Debug for Memberships<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} memberships", self.0.len())
    }
}

// === impl Effects ===

impl<P: Program> Effects<P> {
    pub(crate) fn is_empty(&self) -> bool {
        self.outputs.is_empty() && self.notes.is_empty() && self.memberships.is_empty()
    }
}

impl<P: Program> Default for Effects<P> {
    fn default() -> Self {
        Self { outputs: Vec::new(), notes: Vec::new(), memberships: Memberships::default() }
    }
}
