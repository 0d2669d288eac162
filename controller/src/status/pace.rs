//! When an object's status is written: soon, but not often. Pure but for the clock that is passed in.
//!
//! A change is written after a moment, in which the proxies have acknowledged it and its neighbours have come too. An
//! object that goes on changing is written at intervals that grow: those of a Gateway, to which a thousand routes may be
//! attached one by one, to just under a second.

use crate::resources::{Kind, ObjectRef};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// From a change to its write.
const DELAY: Duration = Duration::from_millis(60);

/// Between two writes of one object: the first interval.
const FIRST_INTERVAL: Duration = Duration::from_millis(150);

/// An object that was not written for so long begins with the first interval again.
const QUIET: Duration = Duration::from_secs(3);

/// The objects whose status may have to be written, and when.
#[derive(Debug, Default)]
pub struct Pace {
    due: BTreeSet<(Instant, ObjectRef)>,
    turns: HashMap<ObjectRef, Turn, ahash::RandomState>,
}

#[derive(Debug, Default)]
struct Turn {
    due: Option<Instant>,
    /// The last write and the least interval to the next one.
    last: Option<(Instant, Duration)>,
    busy: bool,
    /// Touched while busy: when to look again.
    again: Option<Instant>,
}

// === impl Pace ===

impl Pace {
    /// Something of the object may have changed.
    pub fn touch(&mut self, object: &ObjectRef, now: Instant) {
        self.touch_at(object, now + DELAY);
    }

    /// Something of the object will have changed by then.
    pub fn touch_at(&mut self, object: &ObjectRef, at: Instant) {
        let turn = self.turns.entry(object.clone()).or_default();
        if turn.busy {
            turn.again = Some(turn.again.map_or(at, |it| it.min(at)));
            return;
        }
        let at = turn.last.map_or(at, |(last, interval)| at.max(last + interval));
        if turn.due.is_none_or(|due| at < due) {
            if let Some(old) = turn.due.replace(at) {
                self.due.remove(&(old, object.clone()));
            }
            self.due.insert((at, object.clone()));
        }
    }

    /// The next object whose time has come. It is not given out again before [`Self::done`].
    pub fn next(&mut self, now: Instant) -> Option<ObjectRef> {
        let first = self.due.first().filter(|(at, _)| *at <= now).cloned()?;
        self.due.remove(&first);
        let (_, object) = first;
        let turn = self.turns.entry(object.clone()).or_default();
        (turn.due, turn.busy) = (None, true);
        Some(object)
    }

    /// When the next object's time comes.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// An object that was given out has been dealt with.
    pub fn done(&mut self, object: &ObjectRef, wrote: bool, now: Instant) {
        let Some(turn) = self.turns.get_mut(object) else { return };
        turn.busy = false;
        if wrote {
            let interval = match turn.last {
                Some((at, before)) if now.duration_since(at) < QUIET => {
                    (before * 2).min(longest_interval(object.kind))
                }
                _ => FIRST_INTERVAL,
            };
            turn.last = Some((now, interval));
        }
        if let Some(at) = turn.again.take() {
            self.touch_at(object, at);
        } else if turn.last.is_none() {
            self.turns.remove(object);
        }
    }

    /// Forgets objects that have been quiet.
    pub fn sweep(&mut self, now: Instant) {
        self.turns.retain(|_, it| {
            it.busy || it.due.is_some() || it.last.is_some_and(|(at, _)| now.duration_since(at) < QUIET)
        });
    }
}

/// Between two writes of one object: the longest interval. Gateways and ListenerSets count the routes of others; what
/// else changes does so by somebody's hand, who waits for it.
fn longest_interval(kind: Kind) -> Duration {
    Duration::from_millis(match kind {
        Kind::Gateway | Kind::ListenerSet => 900,
        _ => 300,
    })
}

#[cfg(test)]
mod tests;
