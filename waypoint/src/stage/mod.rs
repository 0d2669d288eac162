//! What a rule does to a request and its response: pure functions over heads, that change them in place or say what to
//! answer. Order: the rule's filters as written, then the chosen backend's; on the way back the backend's, then the rule's.

mod cors;
mod header_modifier;
mod list;
mod path;
mod redirect;
mod rewrite;
#[cfg(test)]
mod tests;

pub use cors::CorsHeaders;
pub use fairway_config::model::InvalidFilter;
pub use list::{Answer, Failure, FilterChain, FilterContext, FilterOutcome, Forward, ResponseFilters};
