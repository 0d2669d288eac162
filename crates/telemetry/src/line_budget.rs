//! How many lines refusals may write: a peer that is refused again and again does not fill the log.

use ahash::RandomState;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;
use tokio::time::Instant;

/// Lines that refusals of one kind at one place write at once.
const AT_ONCE: u32 = 50;
/// And then one in each of these.
const EACH: Duration = Duration::from_millis(100);
/// Kinds and places that are told apart. Beyond, they share one budget.
const MOST: usize = 1024;

/// The budgets of one worker.
#[derive(Debug, Default)]
pub(crate) struct LineBudget {
    hasher: RandomState,
    budgets: HashMap<u64, Lines, RandomState>,
}

#[derive(Debug)]
struct Lines {
    left: u32,
    since: Instant,
    suppressed: u64,
}

// === impl LineBudget ===

impl LineBudget {
    /// Whether a line of this kind and place is written: then how many were not since the last one.
    pub(crate) fn admit(&mut self, place: impl Hash, now: Instant) -> Option<u64> {
        let mut key = self.hasher.hash_one(place);
        if self.budgets.len() >= MOST && !self.budgets.contains_key(&key) {
            self.budgets.retain(|_, lines| !lines.is_full(now));
            if self.budgets.len() >= MOST {
                key = 0;
            }
        }
        let new = || Lines { left: AT_ONCE, since: now, suppressed: 0 };
        self.budgets.entry(key).or_insert_with(new).take(now)
    }
}

// === impl Lines ===

impl Lines {
    fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = self.earned(now);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(AT_ONCE);
            self.since = if self.left == AT_ONCE { now } else { self.since + EACH * earned };
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.suppressed))
            }
            None => {
                self.suppressed += 1;
                None
            }
        }
    }

    /// Lines that came back since.
    fn earned(&self, now: Instant) -> u32 {
        let whole = now.saturating_duration_since(self.since).as_nanos() / EACH.as_nanos();
        u32::try_from(whole).unwrap_or(u32::MAX)
    }

    /// Whether it would write as many lines as a new one.
    fn is_full(&self, now: Instant) -> bool {
        self.left.saturating_add(self.earned(now)) >= AT_ONCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_a_second_and_the_next_one_says_how_many_were_left_out() {
        let (mut budget, start) = (LineBudget::default(), Instant::now());
        let mut written = |at: u64, many: u32| {
            let now = start + Duration::from_millis(at);
            (0..many).filter_map(|_| budget.admit("no_route", now)).collect::<Vec<u64>>()
        };
        assert_eq!(written(0, 1000), [0; AT_ONCE as usize]);
        assert_eq!(written(250, 1000), [950, 0]);
        assert_eq!(written(300, 1), [998]);
        assert_eq!(written(600_000, 1000).len(), AT_ONCE as usize);
    }

    #[test]
    fn a_flood_at_one_place_leaves_another_its_lines_also_when_there_are_very_many() {
        let (mut budget, now) = (LineBudget::default(), Instant::now());
        let loud = (0..10_000).filter_map(|_| budget.admit(("denied", "loud"), now)).count();
        assert_eq!(loud, AT_ONCE as usize);
        assert_eq!(budget.admit(("denied", "quiet"), now), Some(0));
        assert_eq!(budget.admit(("no_route", "loud"), now), Some(0));
        // Each of them is over its budget.
        for place in 0..10_000 {
            (0..=AT_ONCE).for_each(|_| _ = budget.admit(place, now));
        }
        assert!(budget.budgets.len() <= MOST + 1);
        // Those that are quiet make room.
        let later = now + Duration::from_secs(3600);
        assert!(budget.admit("new", later).is_some());
        assert_eq!(budget.budgets.len(), 1);
    }
}
