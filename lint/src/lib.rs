//! Checks of the repository's structure that rustc and clippy do not make.
//!
//! [`table`] reads what is allowed, [`crates`] and [`modules`] find what is, [`docs`] finds docstrings that say nothing, and
//! [`evidence`] finds tests that documents name and that do not exist. All of them read text: nothing is compiled, so the checks take
//! a second or two.
#![forbid(unsafe_code)]

pub mod crates;
pub mod docs;
pub mod evidence;
pub mod modules;
pub mod source;
pub mod table;
