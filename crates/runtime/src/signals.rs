//! The end of a program as the system asks for it: the first signal drains, the second ends at once.

use crate::drain::{Deadlines, Trigger};
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// SIGTERM and SIGINT. Make it early: from then on they no longer kill the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything finished by itself.
    Clean,
    /// The grace was over before everything had finished.
    CutOff,
    /// A second signal did not let it wait.
    Forced,
}

/// Waits for a signal, then drains.
pub async fn drain_on_signal(mut signals: Signals, trigger: Trigger, deadlines: Deadlines) -> End {
    drain_on(async || signals.next().await, trigger, deadlines).await
}

async fn drain_on(
    mut next: impl AsyncFnMut() -> &'static str,
    trigger: Trigger,
    deadlines: Deadlines,
) -> End {
    let name = next().await;
    info!(linger = ?deadlines.linger, grace = ?deadlines.grace, "{name}: draining; the same again ends at once");
    tokio::select! {
        clean = trigger.drain(deadlines) => {
            if clean {
                End::Clean
            } else {
                warn!("the grace is over: what was still open was cut off");
                End::CutOff
            }
        }
        // Dropping the trigger, as this does, tells everybody to stop at once.
        name = next() => {
            warn!("{name} again: ending at once");
            End::Forced
        }
    }
}

impl Signals {
    /// Takes over the signals. Call it inside a runtime.
    pub fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::{self, Phase};
    use std::time::Duration;
    use tokio::sync::mpsc;

    const DEADLINES: Deadlines = Deadlines { linger: Duration::from_secs(5), grace: Duration::from_secs(20) };

    /// Ends of a program whose work takes `work` after it was told to close, with signals at these seconds.
    async fn end(signals: &[u64], work: Duration) -> (End, u64) {
        let (trigger, watch) = drain::channel();
        let (send, mut receive) = mpsc::channel(signals.len());
        let start = tokio::time::Instant::now();
        for at in signals.iter().copied() {
            let send = send.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(at)).await;
                send.send("SIGTERM").await.unwrap();
                std::future::pending::<()>().await;
            });
        }
        let worker = tokio::spawn(async move {
            watch.reached(Phase::Closing).await;
            tokio::select! {
                () = tokio::time::sleep(work) => {}
                () = watch.reached(Phase::Forced) => {}
            }
        });
        let end = drain_on(async || receive.recv().await.unwrap(), trigger, DEADLINES).await;
        worker.await.unwrap();
        (end, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_drains_and_the_second_forces() {
        let secs = Duration::from_secs;
        assert_eq!(end(&[1], secs(2)).await, (End::Clean, 8));
        assert_eq!(end(&[1], secs(60)).await, (End::CutOff, 26));
        assert_eq!(end(&[1, 3], secs(60)).await, (End::Forced, 3));
        assert_eq!(end(&[1, 10], secs(60)).await, (End::Forced, 10));
    }
}
