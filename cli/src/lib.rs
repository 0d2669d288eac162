//! What the program `fairway` does: shows Fairway, runs it, checks its configuration.
//!
//! A library so that the end-to-end tests play on the demo's environment.
#![forbid(unsafe_code)]

pub mod check;
pub mod demo;
pub mod run;
