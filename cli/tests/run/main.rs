//! `fairway run`: a directory becomes a gateway and a mesh, and follows its edits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // all of it is tests

mod access;
mod capture;
mod clients;
mod drain;
mod edits;
mod flags;
mod limits;
mod mistakes;
mod program;
mod shop;
