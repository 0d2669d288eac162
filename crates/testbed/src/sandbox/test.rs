//! Tests in sandboxes.
//!
//! The runner has many tests in one process. So each test starts the test program again in namespaces of its own, for itself
//! alone; within, the same function runs the test.

use super::{Entered, Sandbox, outside};

/// Says to the test program that it was started for one test.
const TEST: &str = "FAIRWAY_SANDBOX_TEST";

impl Sandbox {
    /// Runs a test inside a sandbox of its own. `name` is the test's full name, without the crate: `capture::outbound` for
    /// `mod capture { #[test] fn outbound() }`.
    ///
    /// # Panics
    ///
    /// If the test does, or if there can be no sandbox, with what to do about it: a test that cannot run has not passed.
    #[expect(clippy::panic, reason = "how a test fails")]
    pub fn run_test(name: &str, test: impl FnOnce(&Sandbox)) {
        if std::env::var_os(TEST).is_none_or(|asked| asked != name) {
            return start_again(name);
        }
        match Self::enter() {
            Ok(Entered::Inside(sandbox)) => test(&sandbox),
            Ok(Entered::Ended(ended)) if ended.is_success() => {}
            Ok(Entered::Ended(_)) => panic!("{name} failed inside the sandbox"),
            Err(error) => panic!("{error}"),
        }
    }

    /// The same for a test that is a future.
    ///
    /// # Panics
    ///
    /// As [`Self::run_test`].
    #[expect(clippy::expect_used, reason = "how a test fails")]
    pub fn run_async_test(name: &str, test: impl AsyncFnOnce(&Sandbox)) {
        Self::run_test(name, |sandbox| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime.expect("a runtime"), test(sandbox));
        });
    }
}

#[expect(clippy::panic, reason = "how a test fails")]
fn start_again(name: &str) {
    let output = outside::in_namespaces(|mut command| {
        command
            .args(["--exact", name, "--nocapture", "--include-ignored", "--test-threads=1"])
            .env(TEST, name)
            .output()
    });
    let output = output.unwrap_or_else(|error| panic!("{error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{said}\n{complained}", output.status);
    // The runner is content with no test at all.
    if !said.contains("1 passed") {
        panic!("there is no test of the name {name}\n{said}");
    }
    println!("{said}{complained}");
}
