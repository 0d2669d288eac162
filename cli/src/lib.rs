//! fairway: demo, run, check.
#![forbid(unsafe_code)]
