//! Evaluates a program again when its inputs change: what an edit affects, and nothing else.
//!
//! # Purpose
//!
//! A program here is a set of *queries*: pure functions that read inputs, sets and each other. The [`Engine`] runs them, notes
//! what each run read, and after an edit runs again only the queries that had read what changed, and then those that had
//! read what these made. Nobody writes down what depends on what.
//!
//! It is for programs whose result is kept and updated, such as the configuration that a controller compiles out of thousands
//! of objects. It holds everything in memory, is single-threaded, and does no I/O.
//!
//! # The parts
//!
//!  - An *input* is an object with a name, put in by [`Engine::edit`]. Inputs can have several types ([`Input`]).
//!  - A [`Query`] is a type with a `run` function. Each module of a program declares its own; the engine knows only the trait. An
//!    *instance* is a query with a key. An instance exists while another one reads it, and while the input or set is there that
//!    brings it into being ([`OfInput`], [`OfSet`]).
//!  - A [`Set`] answers a question with a set of names: "books on this shelf". Inputs and queries put members in.
//!  - An instance has a *value*, which later queries may read. One that an input or a set brought into being may also make
//!    *outputs* (what the program is for), *notes* (what is said of an input), and *memberships* of sets.
//!
//! # Guarantees
//!
//!  - **The result is that of a rebuild.** After any sequence of edits, values, outputs, notes and sets are what an engine
//!    gives that is handed the same inputs at once. A property test compares the two over random programs and random edits
//!    (`tests/oracle.rs`).
//!  - **Nothing runs that no edit affects.** An instance runs if it is new, or if something that it read last time changed. Where
//!    a run gives the same value as before, its readers do not run for it.
//!  - **Each instance runs at most once for all edits of a [`settle`](Engine::settle)**, as long as sets are filled at earlier stages
//!    than those at which they are read.
//!  - **An instance is gone when nothing needs it**, with all that it made: memory follows the inputs.
//!  - **There is no absent value.** A query reads queries of earlier [stages](Query::STAGE), and gets a value of theirs. A run that
//!    breaks a rule has a [`Fault`]: it does not count, what was there before stays, and [`Changes::faults`] says so, also in
//!    release builds. No run ever continues with a value that stands for "could not be read".
//!  - **It ends.** A program whose queries change what they read themselves is stopped, with a fault.
//!
//! # Example
//!
//! Books stand on shelves; the program says what each shelf is worth, in whole euros.
//!
//! ```
//! use fairway_incremental::{Effects, Engine, Input, OfSet, Program, Query, Reader, Set};
//! use std::collections::HashMap;
//! use std::sync::Arc;
//!
//! #[derive(PartialEq)]
//! struct Book {
//!     shelf: &'static str,
//!     cents: u32,
//! }
//!
//! /// The types that all queries share.
//! struct Shop;
//!
//! impl Program for Shop {
//!     type Settings = ();
//!     type Name = &'static str;
//!     type Object = Arc<Book>;
//!     type Inputs = HashMap<&'static str, Arc<Book>>;
//!     type OutputKey = &'static str;
//!     type Output = u32;
//!     type Note = String;
//!     type Made = Effects<Shop>;
//! }
//!
//! impl Input<Shop> for Book {
//!     type Key = &'static str;
//!
//!     fn name(key: &&'static str) -> &'static str {
//!         key
//!     }
//!     fn downcast(object: &Arc<Book>) -> Option<&Arc<Book>> {
//!         Some(object)
//!     }
//! }
//!
//! /// The books on a shelf.
//! #[derive(Clone, Debug, PartialEq, Eq, Hash)]
//! struct OnShelf(&'static str);
//!
//! impl Set<Shop> for OnShelf {
//!     type Member = &'static str;
//!
//!     fn of_input(name: &&'static str, book: &Arc<Book>) -> Vec<(Self, &'static str)> {
//!         vec![(Self(book.shelf), *name)]
//!     }
//! }
//!
//! /// What a book costs, in euros.
//! struct Price;
//!
//! impl Query<Shop> for Price {
//!     type Key = &'static str;
//!     type Value = Option<u32>;
//!     const STAGE: u8 = 0;
//!
//!     fn run(book: &&'static str, reader: &mut Reader<'_, Shop>, _: &mut Effects<Shop>) -> Option<u32> {
//!         Some(reader.input::<Book>(book)?.cents / 100)
//!     }
//! }
//!
//! /// What a shelf is worth.
//! struct Worth;
//!
//! impl Query<Shop> for Worth {
//!     type Key = &'static str;
//!     type Value = ();
//!     const STAGE: u8 = 1;
//!
//!     fn run(shelf: &&'static str, reader: &mut Reader<'_, Shop>, made: &mut Effects<Shop>) {
//!         let books = reader.members(&OnShelf(shelf));
//!         let sum = books.iter().filter_map(|it| reader.get::<Price>(it)).sum();
//!         made.outputs.push((*shelf, sum));
//!     }
//! }
//!
//! impl OfSet<Shop> for Worth {
//!     type Set = OnShelf;
//!
//!     fn of_set(OnShelf(shelf): &OnShelf) -> Option<&'static str> {
//!         Some(*shelf)
//!     }
//! }
//!
//! let mut engine = Engine::<Shop>::new(()).set::<OnShelf>().of_set::<Worth>();
//! let book = |shelf, cents| Some(Arc::new(Book { shelf, cents }));
//! engine.edit("Emma", book("novels", 999));
//! engine.edit("Persuasion", book("novels", 1200));
//! engine.edit("Faust", book("plays", 550));
//! assert_eq!(engine.settle().outputs, [("novels", Some(21)), ("plays", Some(5))]);
//!
//! // One book costs more: its price and its shelf are computed again, and nothing else.
//! engine.edit("Faust", book("plays", 799));
//! assert_eq!(engine.settle().outputs, [("plays", Some(7))]);
//! assert_eq!(engine.runs(), 2);
//!
//! // So little that its price in euros stays: the shelf is not computed again.
//! engine.edit("Faust", book("plays", 750));
//! assert_eq!(engine.settle().outputs, []);
//! assert_eq!(engine.runs(), 1);
//!
//! // What nothing needs is gone.
//! engine.edit("Faust", None);
//! assert_eq!(engine.settle().outputs, [("plays", None)]);
//! assert_eq!(engine.instances(), 3);
//! ```
#![forbid(unsafe_code)]

mod effects;
mod engine;
mod fault;
mod keyed;
mod members;
mod node;
mod program;
mod reader;
mod readers;
mod results;
mod table;

pub use effects::{Effects, Memberships};
pub use engine::{Changes, Engine};
pub use fault::{Cause, Fault};
pub use program::{Input, Inputs, Key, OfInput, OfSet, Program, Query, Set};
pub use reader::Reader;
