//! What a scrape shows, and whether the queries of the documentation can be answered from it. For tests.

mod exposition;
mod query;

pub use exposition::{Exposition, Sample};
pub use query::{check, queries};
