//! Ending without failing a request: stop taking new work, let the old work end, cut off what is left.

use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How far a program's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The program serves; no end has been asked for.
    Running,
    /// Still accepting, so that nobody who does not know yet is refused, but every connection is told to go elsewhere
    /// (`connection: close`, GOAWAY).
    Draining,
    /// No new connections; those that are open finish what they are doing.
    Closing,
    /// The time to drain is over: what is open is closed.
    Forced,
}

/// How long each phase may last.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the signal to the closing of the listeners.
    pub linger: Duration,
    /// From then to the cutting off of what is left.
    pub grace: Duration,
}

/// The end that starts the drain.
#[derive(Debug)]
pub struct Trigger {
    phase: watch::Sender<Phase>,
    all_gone: mpsc::Receiver<std::convert::Infallible>,
}

/// The end that is told, and whose clones hold the program up until they are dropped.
#[derive(Clone, Debug)]
pub struct Watch {
    phase: watch::Receiver<Phase>,
    _alive: mpsc::Sender<std::convert::Infallible>,
}

/// Makes the two ends.
///
/// A [`Watch`] that somebody keeps is work that is not done, even if nothing is served:
///
/// ```
/// use fairway_runtime::drain::{self, Deadlines, Phase};
/// use std::time::Duration;
/// use tokio::time::Instant;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
/// # runtime.block_on(async {
/// let deadlines = Deadlines { linger: Duration::from_secs(2), grace: Duration::from_secs(10) };
/// let (trigger, kept) = drain::channel();
/// let start = Instant::now();
/// assert!(!trigger.drain(deadlines).await, "something had to be cut off");
/// // Linger, grace, and a second in which what was cut off can say so.
/// assert_eq!(start.elapsed().as_secs(), 13);
/// assert_eq!(kept.phase(), Phase::Forced);
///
/// // A trigger that is dropped ends what waits for any phase.
/// let (trigger, watch) = drain::channel();
/// drop(trigger);
/// watch.reached(Phase::Draining).await;
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn channel() -> (Trigger, Watch) {
    let (phase, watched) = watch::channel(Phase::Running);
    let (alive, all_gone) = mpsc::channel(1);
    (Trigger { phase, all_gone }, Watch { phase: watched, _alive: alive })
}

// === impl Trigger ===

impl Trigger {
    /// Goes through the phases; returns when every [`Watch`] is gone, or at the end of the grace, with `true` if nothing
    /// had to be cut off.
    pub async fn drain(mut self, deadlines: Deadlines) -> bool {
        self.phase.send_replace(Phase::Draining);
        if tokio::time::timeout(deadlines.linger, self.all_gone.recv()).await.is_ok() {
            return true;
        }
        self.phase.send_replace(Phase::Closing);
        if tokio::time::timeout(deadlines.grace, self.all_gone.recv()).await.is_ok() {
            return true;
        }
        self.phase.send_replace(Phase::Forced);
        // What is told to stop at once gets a moment to do so, so that its last bytes and log lines go out.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.all_gone.recv()).await;
        false
    }

    /// Takes no more work from now on; what is open may go on until another drain forces it to end. Returns when every
    /// [`Watch`] of this one is gone.
    pub async fn close(mut self, lead: &Watch) {
        self.phase.send_replace(Phase::Closing);
        tokio::select! {
            _ = self.all_gone.recv() => return,
            () = lead.reached(Phase::Forced) => self.phase.send_replace(Phase::Forced),
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), self.all_gone.recv()).await;
    }

    /// Goes through the phases when another drain does; returns when every [`Watch`] of this one is gone.
    pub async fn follow(mut self, lead: &Watch) {
        for phase in [Phase::Draining, Phase::Closing, Phase::Forced] {
            tokio::select! {
                _ = self.all_gone.recv() => return,
                () = lead.reached(phase) => self.phase.send_replace(phase),
            };
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), self.all_gone.recv()).await;
    }
}

// === impl Watch ===

impl Watch {
    /// The phase at this moment.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until the phase is at least this one. A trigger that was dropped counts as [`Phase::Forced`].
    pub async fn reached(&self, phase: Phase) {
        let mut watched = self.phase.clone();
        let _ = watched.wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines = Deadlines { linger: Duration::from_secs(2), grace: Duration::from_secs(10) };

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_when_the_last_watch_is_dropped() {
        let (trigger, watch) = channel();
        let work = tokio::spawn(async move {
            watch.reached(Phase::Closing).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
        });
        let start = tokio::time::Instant::now();
        assert!(trigger.drain(DEADLINES).await);
        assert_eq!(start.elapsed().as_secs(), 5);
        work.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_in_time_is_cut_off() {
        let (trigger, watch) = channel();
        let work = tokio::spawn(async move { watch.reached(Phase::Forced).await });
        assert!(!trigger.drain(DEADLINES).await);
        work.await.unwrap();
    }
}
