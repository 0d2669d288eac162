//! No peer fills the log: lines that a peer brings about are few a second from each line of the code, and what is left out is
//! counted.
//!
//! Limited are the lines of libraries (h2, hyper, rustls, …) and of those parts of Fairway that speak with peers. What the
//! control plane says of objects is not: each of those lines has something else to say. Nor are `debug` and `trace`, which
//! somebody asked for, and access logs, which are as many as was asked for.

use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::callsite::Identifier;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines that one line of the code may write at once.
const AT_ONCE: u32 = 20;
/// And then one in each of these.
const EACH: Duration = Duration::from_secs(1);

/// Parts of Fairway whose lines peers bring about.
const PEERS: &[&str] = &[
    "fairway_controller::admission",
    "fairway_controller::ca",
    "fairway_controller::serve",
    "fairway_hbone",
    "fairway_identity",
    "fairway_runtime::admin",
    "fairway_runtime::transport",
    "fairway_waypoint::datagram",
    "fairway_waypoint::listen",
    "fairway_waypoint::pipeline",
    "fairway_waypoint::serve",
    "fairway_waypoint::stream",
    "fairway_waypoint::upstream",
    "fairway_ztunnel::proxy",
];

/// Lets a line pass or counts it. Clones are of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate(Arc<ArcSwap<HashMap<Identifier, Arc<Callsite>>>>);

/// A line of the code that logs.
#[derive(Debug)]
struct Callsite {
    metadata: &'static Metadata<'static>,
    lines: Mutex<Lines>,
}

#[derive(Debug)]
struct Lines {
    left: u32,
    since: Instant,
    suppressed: u64,
}

/// Lines that were left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suppressed {
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) lines: u64,
}

// === impl Rate ===

impl Rate {
    fn lets_pass(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        if !is_limited(metadata) {
            return true;
        }
        let callsite = metadata.callsite();
        let known = self.0.load().get(&callsite).cloned();
        let known = known.unwrap_or_else(|| {
            let lines = Mutex::new(Lines { left: AT_ONCE, since: now, suppressed: 0 });
            let new = Arc::new(Callsite { metadata, lines });
            // A callsite is entered once, so that the copy costs nothing worth to mention.
            self.0.rcu(|callsites| {
                let mut callsites = HashMap::clone(callsites);
                callsites.entry(callsite.clone()).or_insert_with(|| new.clone());
                callsites
            });
            self.0.load().get(&callsite).cloned().unwrap_or(new)
        });
        known.lines().take(now)
    }

    /// What was left out since this was asked last.
    pub(super) fn take_suppressed(&self) -> Vec<Suppressed> {
        let callsites = self.0.load();
        let of = |callsite: &Arc<Callsite>| Suppressed {
            metadata: callsite.metadata,
            lines: std::mem::take(&mut callsite.lines().suppressed),
        };
        callsites.values().map(of).filter(|it| it.lines > 0).collect()
    }
}

impl<S: Subscriber> Layer<S> for Rate {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.lets_pass(event.metadata(), Instant::now())
    }
}

fn is_limited(metadata: &Metadata<'_>) -> bool {
    if *metadata.level() > Level::INFO {
        return false;
    }
    let target = metadata.target();
    let of =
        |part: &str| target.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    target != "fairway::access" && (!target.starts_with("fairway") || PEERS.iter().any(|part| of(part)))
}

// === impl Suppressed ===

impl Suppressed {
    /// Says so in the log, at the level of what was left out.
    pub(super) fn tell(self) {
        let Self { metadata, lines } = self;
        let (target, line) = (metadata.target(), metadata.line());
        macro_rules! tell {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    of = target,
                    line,
                    suppressed = lines,
                    "lines that a peer brings about were left out"
                )
            };
        }
        match *metadata.level() {
            Level::ERROR => tell!(Level::ERROR),
            Level::WARN => tell!(Level::WARN),
            _ => tell!(Level::INFO),
        }
    }
}

// === impl Callsite ===

impl Callsite {
    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Lines ===

impl Lines {
    fn take(&mut self, now: Instant) -> bool {
        let whole = now.saturating_duration_since(self.since).as_nanos() / EACH.as_nanos();
        let whole = u32::try_from(whole).unwrap_or(u32::MAX);
        if whole > 0 {
            self.left = self.left.saturating_add(whole).min(AT_ONCE);
            self.since = if self.left == AT_ONCE { now } else { self.since + EACH * whole };
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.suppressed += 1;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Terminal;
    use super::super::{Format, lines};
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    /// What a program writes meanwhile, line by line, and what it says of what it left out.
    fn written(meanwhile: impl FnOnce()) -> Vec<String> {
        let (terminal, rate) = (Terminal::default(), Rate::default());
        let out = terminal.clone();
        let subscriber = tracing_subscriber::registry().with(rate.clone()).with(lines(
            Format::Text,
            move || out.clone(),
            false,
        ));
        tracing::subscriber::with_default(subscriber, || {
            meanwhile();
            rate.take_suppressed().into_iter().for_each(Suppressed::tell);
        });
        let written = terminal.written.lock().unwrap();
        String::from_utf8_lossy(&written).lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_flood_that_a_peer_brings_about_is_a_few_lines_whoever_writes_them() {
        let floods: [(&str, fn()); 7] = [
            ("h2", || tracing::warn!(target: "h2::proto::ping_pong", "recv PING ack that we never sent")),
            ("hyper", || tracing::error!(target: "hyper::proto", "a connection")),
            ("rustls", || tracing::info!(target: "rustls::conn", "a handshake")),
            ("waypoint", || tracing::warn!(target: "fairway_waypoint::listen::accept", "cannot accept")),
            ("ztunnel", || tracing::warn!(target: "fairway_ztunnel::proxy::inbound", "a peer was refused")),
            ("refusals", || tracing::warn!(target: "fairway_controller::serve::session", "a proxy refuses")),
            (
                "controller",
                || tracing::warn!(target: "fairway_controller::admission::authenticated", "a caller is rejected"),
            ),
        ];
        for (who, line) in floods {
            let written = written(|| (0..10_000).for_each(|_| line()));
            let count = written.len();
            assert!((20..30).contains(&count), "{who}: {count} lines");
            let last = written.last().unwrap();
            assert!(last.contains("left out") && last.contains("suppressed=99"), "{who}: {last}");
        }
    }

    #[test]
    fn what_has_something_else_to_say_each_time_or_was_asked_for_passes() {
        type Line = fn(u32);
        let lines: [(&str, Line); 4] = [
            ("control plane", |it| tracing::warn!(target: "fairway_controller::compile", it, "refused")),
            ("state", |it| tracing::error!(target: "fairway_config::stream", it, "refused")),
            ("debug", |it| tracing::debug!(target: "h2::codec", it, "a frame")),
            ("access", |it| tracing::info!(target: "fairway::access", it)),
        ];
        for (who, line) in lines {
            assert_eq!(written(|| (0..1000).for_each(line)).len(), 1000, "{who}");
        }
    }

    #[test]
    fn one_callsite_does_not_silence_another() {
        let written = written(|| {
            (0..1000).for_each(|_| tracing::warn!(target: "h2", "one"));
            tracing::warn!(target: "h2", "another");
        });
        assert!(written.iter().any(|it| it.contains("another")), "{written:?}");
    }

    #[test]
    fn after_a_flood_a_line_a_second_and_after_a_while_all_of_them() {
        let start = Instant::now();
        let mut lines = Lines { left: AT_ONCE, since: start, suppressed: 0 };
        let mut passed = |at: Duration, many: u32| (0..many).filter(|_| lines.take(start + at)).count();
        assert_eq!(passed(Duration::ZERO, 1000), 20);
        assert_eq!(passed(Duration::from_millis(2500), 1000), 2);
        assert_eq!(passed(Duration::from_millis(3000), 1000), 1);
        assert_eq!(passed(Duration::from_secs(600), 1000), 20);
    }
}
