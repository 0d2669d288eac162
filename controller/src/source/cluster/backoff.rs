//! How long to wait before trying again.

use rand::Rng;
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(15);

/// Doubles with each failure, up to a limit, with chance in it: after an outage not everybody comes back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The wait after one more failure.
    pub(super) fn failed(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait.mul_f64(rand::rng().random_range(0.5..1.0))
    }

    pub(super) fn worked(&mut self) {
        self.next = FIRST;
    }
}
