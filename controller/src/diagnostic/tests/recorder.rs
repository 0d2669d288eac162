//! Diagnostics as they are made, for the test that sees every message: some are only quoted in conditions.

use crate::diagnostic::Diagnostic;
use std::cell::RefCell;

thread_local! {
    static MADE: RefCell<Option<Vec<Diagnostic>>> = const { RefCell::new(None) };
}

/// Records on this thread from now on.
pub(super) fn start() {
    MADE.set(Some(Vec::new()));
}

/// What was made since [`start`].
pub(super) fn stop() -> Vec<Diagnostic> {
    MADE.take().unwrap_or_default()
}

pub(in crate::diagnostic) fn record(made: &Diagnostic) {
    MADE.with_borrow_mut(|all| all.iter_mut().for_each(|all| all.push(made.clone())));
}
