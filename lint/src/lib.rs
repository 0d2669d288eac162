//! Checks of the repository's structure that rustc and clippy do not make.
//!
//! [`table`] reads what is allowed, [`crates`] and [`modules`] find what is, and [`docs`] finds docstrings that say nothing. All of them
//! read text: nothing is compiled, so the checks take less than a second.
#![forbid(unsafe_code)]

pub mod crates;
pub mod docs;
pub mod modules;
pub mod source;
pub mod table;
