//! What time it is on certificates: wall time, behind a seam so that tests can pause and move it.

use rustls_pki_types::UnixTime;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells wall time, by which certificates begin and expire.
pub trait Clock: Debug + Send + Sync {
    /// The time against which validity is judged.
    fn now(&self) -> SystemTime;
}

/// A clock that many hold.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's wall clock, which may be set back.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// Wall time that moves with tokio's clock: where a test pauses that, certificates stop ageing too.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    wall: SystemTime,
    start: tokio::time::Instant,
}

/// A machine that sleeps, or whose clock is set, comes to a time while tokio's clock stands still.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(300);

/// Returns when it is this time, or up to five minutes later if somebody sets the clock.
pub async fn reached(clock: &dyn Clock, at: SystemTime) {
    while let Ok(left) = at.duration_since(clock.now()) {
        tokio::time::sleep(left.clamp(Duration::from_millis(1), LOOK_AT_THE_CLOCK)).await;
    }
}

/// The same time in the form rustls asks for.
#[derive(Debug)]
pub(crate) struct TlsClock(pub(crate) SharedClock);

pub(crate) fn unix_time(at: SystemTime) -> UnixTime {
    // Before 1970 every certificate is not yet valid, which is what 1970 says too.
    UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default())
}

// === impl SystemClock ===

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

// === impl TokioClock ===

impl TokioClock {
    /// A clock that shows the machine's time now and moves with tokio's from here on.
    pub fn start() -> Self {
        Self { wall: SystemTime::now(), start: tokio::time::Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> SystemTime {
        self.wall + self.start.elapsed()
    }
}

// === impl TlsClock ===

impl rustls::time_provider::TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}
