//! When to ask the issuer again. Pure: `chance` is a number from 0 to 1 that the caller draws.

use crate::backoff::Backoff;
use std::time::{Duration, SystemTime};

/// Two renewals are never closer than this, however short the certificates are.
const SHORTEST: Duration = Duration::from_secs(1);

/// The largest part of a certificate's remaining life after which it is renewed: a half, and a tenth by chance.
const LATEST: f64 = 0.55;

/// The next time to ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    due: SystemTime,
    failures: u32,
}

// === impl Schedule ===

impl Schedule {
    pub(super) fn at_once(now: SystemTime) -> Self {
        Self { due: now, failures: 0 }
    }

    pub(super) fn due(&self) -> SystemTime {
        self.due
    }

    /// A certificate came: the next is due when half of what is left of it has passed, give or take a tenth. What is
    /// left counts, not its whole life, of which an issuer may have put a part into the past.
    pub(super) fn succeeded(&mut self, now: SystemTime, not_after: SystemTime, chance: f64) {
        let left = not_after.duration_since(now).unwrap_or_default();
        self.failures = 0;
        self.due = now + left.mul_f64(LATEST - 0.1 + 0.1 * chance.clamp(0.0, 1.0)).max(SHORTEST);
    }

    /// Plans the next attempt after one that failed; `chance` in 0..1 spreads retries.
    pub(super) fn failed(&mut self, now: SystemTime, backoff: Backoff, chance: f64) {
        self.due = now + backoff.pause(self.failures, chance);
        self.failures = self.failures.saturating_add(1);
    }

    /// Brings forward what was planned by a clock that was ahead and is right again. `not_after` is the end of the certificate
    /// in use, if there is one that is valid now. Without a change of the clock this changes nothing.
    pub(super) fn follow_clock(&mut self, now: SystemTime, not_after: Option<SystemTime>, backoff: Backoff) {
        let latest = match not_after {
            Some(not_after) if self.failures == 0 => {
                let left = not_after.duration_since(now).unwrap_or_default();
                left.mul_f64(LATEST).max(SHORTEST)
            }
            _ => backoff.last,
        };
        self.due = self.due.min(now + latest);
    }

    /// The certificate is no longer good enough, though its time is not over. A moment's pause keeps an issuer whose
    /// certificates never are from being asked without end.
    pub(super) fn hasten(&mut self, now: SystemTime, backoff: Backoff, chance: f64) {
        self.due = self.due.min(now + backoff.pause(0, chance));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), last: Duration::from_secs(30) };

    fn after(schedule: &Schedule, now: SystemTime) -> Duration {
        schedule.due().duration_since(now).unwrap()
    }

    #[test]
    fn renewal_is_due_about_half_way() {
        for (left, chance, due) in [
            (3600, 0.5, 1800),
            (3600, 0.0, 1620),
            (3600, 1.0, 1980),
            (1, 0.5, 1), // never closer than a second
            (0, 0.5, 1),
        ] {
            let (now, mut schedule) = (UNIX_EPOCH, Schedule::at_once(UNIX_EPOCH));
            schedule.succeeded(now, now + Duration::from_secs(left), chance);
            assert_eq!(after(&schedule, now), Duration::from_secs(due), "{left} s left, chance {chance}");
        }
    }

    #[test]
    fn failures_double_the_pause_up_to_the_last_and_a_success_resets_it() {
        let (now, mut schedule) = (UNIX_EPOCH, Schedule::at_once(UNIX_EPOCH));
        let mut pauses = Vec::new();
        for _ in 0..10 {
            schedule.failed(now, BACKOFF, 1.0);
            pauses.push(after(&schedule, now).as_millis());
        }
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        schedule.succeeded(now, now + Duration::from_secs(60), 0.5);
        schedule.failed(now, BACKOFF, 0.0);
        assert_eq!(after(&schedule, now).as_millis(), 100);
    }

    #[test]
    fn a_clock_that_was_ahead_and_is_right_again_delays_nothing() {
        let (year, hour) = (Duration::from_secs(365 * 24 * 3600), Duration::from_secs(3600));
        let now = UNIX_EPOCH + year;
        let mut failed = Schedule::at_once(now);
        failed.failed(now + year, BACKOFF, 1.0);
        failed.follow_clock(now, None, BACKOFF);
        assert_eq!(after(&failed, now), BACKOFF.last);

        let mut succeeded = Schedule::at_once(now);
        succeeded.succeeded(now + year, now + year + hour, 0.5);
        let mut not_valid_yet = succeeded;
        succeeded.follow_clock(now, Some(now + hour), BACKOFF);
        assert_eq!(after(&succeeded, now), hour.mul_f64(LATEST));
        not_valid_yet.follow_clock(now, None, BACKOFF);
        assert_eq!(after(&not_valid_yet, now), BACKOFF.last);
    }

    #[test]
    fn a_clock_that_nobody_sets_changes_no_plan() {
        for chance in [0.0, 0.5, 1.0] {
            let (start, life) = (UNIX_EPOCH, Duration::from_secs(3600));
            let mut schedule = Schedule::at_once(start);
            schedule.succeeded(start, start + life, chance);
            let planned = schedule.due();
            for minutes in 0..60 {
                let now = start + Duration::from_secs(minutes * 60);
                schedule.follow_clock(now, Some(start + life), BACKOFF);
                assert_eq!(schedule.due(), planned, "{minutes} min, chance {chance}");
            }
            schedule.failed(start, BACKOFF, chance);
            let planned = schedule.due();
            schedule.follow_clock(start, Some(start + life), BACKOFF);
            assert_eq!(schedule.due(), planned);
        }
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let mut schedule = Schedule { due: UNIX_EPOCH, failures: u32::MAX };
        schedule.failed(UNIX_EPOCH, BACKOFF, 1.0);
        assert_eq!(after(&schedule, UNIX_EPOCH), BACKOFF.last);
    }
}
