//! What is known of an instance of a query beside its value.

use crate::program::Program;
use crate::readers::Readers;
use crate::table::{Read, SetId};

/// What is known of an instance of a query beside its value.
pub(crate) struct Node<P: Program> {
    pub state: State,
    /// How many inputs and sets brought it into being and are there.
    pub lives: u32,
    pub readers: Readers,
    /// What the last run read; sorted.
    pub reads: Box<[Read]>,
    pub outputs: Box<[P::OutputKey]>,
    pub notes: Box<[P::Name]>,
    /// What it put into sets; sorted.
    pub memberships: Box<[(SetId, P::Name)]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It never ran, so that it has no value.
    New,
    /// Its last run counted.
    Done,
    /// Its last run did not count.
    AtFault,
}

// === impl Node ===

impl<P: Program> Node<P> {
    /// Whether something keeps it.
    pub(crate) fn is_needed(&self) -> bool {
        self.lives > 0 || !self.readers.is_empty()
    }
}

impl<P: Program> Default for Node<P> {
    fn default() -> Self {
        Self {
            state: State::New,
            lives: 0,
            readers: Readers::None,
            reads: Box::default(),
            outputs: Box::default(),
            notes: Box::default(),
            memberships: Box::default(),
        }
    }
}
