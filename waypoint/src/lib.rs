//! The L7 proxy that every Gateway and every waypoint runs.
#![forbid(unsafe_code)]

pub mod filter;
#[cfg(test)]
mod fixtures;
pub mod route;
pub mod table;
pub mod upstream;
