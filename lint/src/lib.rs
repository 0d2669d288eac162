//! Checks of the repository's structure that rustc and clippy do not make.
//!
//! # Purpose
//!
//! [`table`] reads what is allowed, [`crates`] and [`modules`] find what is, [`docs`] finds docstrings that say nothing, and
//! [`evidence`] finds tests that documents name and that do not exist. [`circles`] finds files that depend on each other.
//!
//! # Guarantees
//!
//! - **Nothing is compiled.** All of them read text, so the checks take a second or two, and they hold for code that is not built.
//! - **A complaint names its place.** It has the file and the line, and the line of `lint/structure.txt` that it is against.
//! - **The table has no cycle.** One that allows a cycle is refused before anything is compared with it.
//! - **Tests are free.** What tests use does not count for the directions.
//!
//! # Example
//!
//! Docstrings of three words or less count as saying nothing, wherever they stand:
//!
//! ```
//! use fairway_lint::docs::short_in;
//!
//! let source = "/// The port.\nport: u16,\n/// Milliseconds since the start; 0 before it.\nat: u64,\n";
//! assert_eq!(short_in(source), [(1, "The port.".to_owned())]);
//! ```
#![forbid(unsafe_code)]

pub mod circles;
pub mod crates;
pub mod docs;
pub mod evidence;
pub mod modules;
pub mod source;
pub mod table;
