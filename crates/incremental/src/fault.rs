//! What is wrong with a program's queries.

use std::fmt;

/// A query that breaks a rule of the engine: an error in the program, not in what it is given.
///
/// A run with a fault does not count. What the instance made before stays, and the instances that read it stay as they are
/// too; all of them run again when something that they read changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("query {query}({key}) {cause}")]
pub struct Fault<Name> {
    /// The type of the query, with its module.
    pub query: &'static str,
    /// The instance, as `Debug` shows its key.
    pub key: String,
    /// The first input that the run looked at: as a rule the one that it is about.
    pub about: Option<Name>,
    /// The rule that it broke.
    pub cause: Cause,
}

/// What a query did that it may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It read a query that is not of an earlier stage.
    ReadsTooEarly {
        /// The stage of the query that reads.
        stage: u8,
        /// The query that it read.
        read: &'static str,
        /// The stage of the query that it read.
        read_stage: u8,
    },
    /// It read an instance that has a fault.
    ReadsFaulty {
        /// The query that it read.
        read: &'static str,
        /// The instance, as `Debug` shows its key.
        key: String,
    },
    /// It made outputs, notes or members of sets, and neither an input nor a set has brought it into being: how long these
    /// hold would depend on who reads it.
    MakesUnborn,
    /// It ran so many times after one edit that it probably never ends: what it makes changes what it reads.
    Unsettled {
        /// As often as an instance may run after one edit.
        runs: u32,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadsTooEarly { stage, read, read_stage } => {
                write!(f, "of stage {stage} reads query {read} of stage {read_stage}")
            }
            Self::ReadsFaulty { read, key } => write!(f, "reads {read}({key}), which has a fault"),
            Self::MakesUnborn => {
                write!(f, "has effects, but is only read: no input or set brings it into being")
            }
            Self::Unsettled { runs } => {
                write!(f, "ran {runs} times after one edit and still changes what it reads")
            }
        }
    }
}
