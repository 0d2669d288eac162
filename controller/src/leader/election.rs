//! Who leads, decided from what the Lease says and when it was seen to change. Pure.
//!
//! The times that others write are never compared with our clock: a holder is alive for as long as we see its Lease
//! change.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the steps of an election take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a Lease that does not change is somebody's.
    pub lease: Duration,
    /// How long a leader that cannot renew still leads; less than `lease`, so that it stops before the next one begins.
    pub renew: Duration,
    /// How often a leader renews and the others look.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self::for_lease(Duration::from_secs(8))
    }
}

impl Timing {
    /// What goes with a duration of the Lease: of eight parts a leader may go five without a renewal, and tries each one.
    pub fn for_lease(lease: Duration) -> Self {
        Self { lease, renew: lease * 5 / 8, retry: lease / 8 }
    }
}

/// What a Lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Who holds it; none when it was released or never taken.
    pub holder: Option<Arc<str>>,
    /// Changes with every write.
    pub version: Arc<str>,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAction {
    /// Write our name into it.
    Take,
    /// Write our name into it once more.
    Renew,
    Leave,
}

/// One candidate's view of the election.
#[derive(Debug)]
pub struct Election {
    me: Arc<str>,
    timing: Timing,
    seen: Option<(Claim, Instant)>,
    /// When the last write that succeeded was begun.
    renewed: Option<Instant>,
}

impl Election {
    /// A candidate of this name.
    pub fn new(me: Arc<str>, timing: Timing) -> Self {
        Self { me, timing, seen: None, renewed: None }
    }

    /// What to do now that the Lease says this.
    pub fn see(&mut self, claim: Claim, now: Instant) -> LeaseAction {
        let since = match &self.seen {
            Some((seen, since)) if *seen == claim => *since,
            _ => now,
        };
        let next = match &claim.holder {
            None => LeaseAction::Take,
            Some(holder) if *holder == self.me && self.leads(now) => LeaseAction::Renew,
            // Ours from before a restart: there is only one of this name.
            Some(holder) if *holder == self.me => LeaseAction::Take,
            Some(_) if now.duration_since(since) >= self.timing.lease => LeaseAction::Take,
            Some(_) => LeaseAction::Leave,
        };
        if next == LeaseAction::Leave {
            // Somebody took it from us, which they do only when we were away for long.
            self.renewed = None;
        }
        self.seen = Some((claim, since));
        next
    }

    /// Our name was written; `begun` is when the write was sent, from then on others count.
    pub fn wrote(&mut self, claim: Claim, begun: Instant) {
        self.seen = Some((claim, begun));
        // Answers may overtake each other.
        self.renewed = self.renewed.max(Some(begun));
    }

    pub fn leads(&self, now: Instant) -> bool {
        self.renewed.is_some_and(|at| now.duration_since(at) < self.timing.renew)
    }

    /// When we lead no more unless we renew.
    pub fn leads_until(&self) -> Option<Instant> {
        self.renewed.map(|at| at + self.timing.renew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(holder: &str, version: &str) -> Claim {
        let holder = (!holder.is_empty()).then(|| holder.into());
        Claim { holder, version: version.into() }
    }

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn a_free_lease_is_taken_and_renewed() {
        let start = Instant::now();
        let mut us = Election::new("a".into(), Timing::default());
        assert_eq!(us.see(claim("", "1"), start), LeaseAction::Take);
        assert!(!us.leads(start), "not before it is written");
        us.wrote(claim("a", "2"), start);
        assert!(us.leads(at(start, 4999)));
        assert_eq!(us.see(claim("a", "2"), at(start, 1000)), LeaseAction::Renew);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_cannot_renew_stops_before_another_begins() {
        let start = Instant::now();
        let (mut us, mut other) =
            (Election::new("a".into(), Timing::default()), Election::new("b".into(), Timing::default()));
        us.wrote(claim("a", "2"), start);
        assert_eq!(other.see(claim("a", "2"), start), LeaseAction::Leave);
        assert!(!us.leads(at(start, 5000)));
        assert_eq!(other.see(claim("a", "2"), at(start, 7999)), LeaseAction::Leave);
        assert_eq!(other.see(claim("a", "2"), at(start, 8000)), LeaseAction::Take);
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_whose_lease_changes_is_alive_whatever_its_clock_says() {
        let start = Instant::now();
        let mut us = Election::new("b".into(), Timing::default());
        for (millis, version) in [(0, "1"), (7000, "2"), (14_000, "3"), (21_999, "3")] {
            assert_eq!(us.see(claim("a", version), at(start, millis)), LeaseAction::Leave, "{millis}");
        }
        assert_eq!(us.see(claim("a", "3"), at(start, 22_000)), LeaseAction::Take);
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_lease_and_ones_own_are_taken_at_once() {
        let start = Instant::now();
        let mut us = Election::new("b".into(), Timing::default());
        assert_eq!(us.see(claim("a", "1"), start), LeaseAction::Leave);
        assert_eq!(us.see(claim("", "2"), at(start, 1)), LeaseAction::Take);
        let mut restarted = Election::new("a".into(), Timing::default());
        assert_eq!(restarted.see(claim("a", "1"), start), LeaseAction::Take);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_was_taken_from_us_is_lost_at_once() {
        let start = Instant::now();
        let mut us = Election::new("a".into(), Timing::default());
        us.wrote(claim("a", "1"), start);
        assert_eq!(us.see(claim("b", "2"), at(start, 1000)), LeaseAction::Leave);
        assert!(!us.leads(at(start, 1000)));
    }
}
