//! What the API server says when it says no, in a line.

#[cfg(test)]
pub(crate) mod testing;

use std::error::Error;

/// An error of the API server, or of the way to it, in a line.
pub(crate) fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} {}", status.code, status.message),
        kube::Error::Service(error) => format!("it cannot be reached: {}", innermost(&**error)),
        error => error.to_string(),
    }
}

/// The cause of all causes: what wraps it only says that something went wrong.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
