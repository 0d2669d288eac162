//! Which of the controller's replicas leads: serves the proxies, writes status, provisions, issues identities.

mod address;
mod election;
mod lease;

pub(crate) use address::{keep_published, owners};
pub use election::Timing;
pub use lease::{Candidate, Lost, NAME};

#[cfg(test)]
mod tests;
