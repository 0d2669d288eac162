//! Logs: to standard error, filtered, and never in the way: a terminal that is slow costs log lines, not requests.

mod rate;
#[cfg(any(test, feature = "testing"))]
mod testing;
#[cfg(any(test, feature = "testing"))]
pub use testing::logged;

use rate::{Rate, Suppressed};
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use tokio::time::Instant;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

/// Lines that may wait to be written.
const QUEUE: usize = 4096;

/// How often the log says what was left out of it.
const SUMMARY: Duration = Duration::from_secs(10);

/// How long the end of a program waits for its last lines to go out.
const FLUSH: Duration = Duration::from_secs(1);

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people; with colour where standard error is a terminal.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl Format {
    /// As the flag takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// The running logs. Keep it until the end of `main`: dropping it writes what is still queued.
#[derive(Debug)]
pub struct Logs {
    control: Control,
    queue: Queue,
}

/// Changes the filter while the program runs. Clones are of the same.
#[derive(Clone, Debug)]
pub struct Control {
    filter: reload::Handle<EnvFilter, Registry>,
    dropped: Arc<AtomicU64>,
}

/// Why logging cannot be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The text is no filter of `tracing_subscriber::EnvFilter`.
    #[error("`{filter}` is not a log filter: {why}. Examples: info, debug, warn,fairway_waypoint=debug")]
    Filter {
        /// The text as it was given.
        filter: String,
        /// What is wrong with it.
        why: String,
    },
    /// The process has a subscriber already.
    #[error("logging is set up already")]
    Twice,
    /// The thread that writes could not start.
    #[error("cannot start the thread that writes logs: {0}")]
    Thread(io::Error),
}

enum Entry {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Where log lines wait to be written by their own thread.
#[derive(Clone, Debug)]
struct Queue {
    entries: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

/// Sets up logging for the whole process; `filter` is a level or directives such as `info,h2=warn`.
///
/// Lines that a peer can bring about are limited, but for `debug` and `trace`: each line of the code writes 20 at once and then one a
/// second. How many were left out is logged every ten seconds.
///
/// ```
/// use fairway_runtime::logs::{self, Format, LogError};
///
/// // A word that is no level would name a part of the program, and everything else would be silent.
/// assert!(matches!(logs::start("inof", Format::Text), Err(LogError::Filter { .. })));
/// let logs = logs::start("warn", Format::Text)?;
/// assert!(matches!(logs::start("warn", Format::Text), Err(LogError::Twice)));
///
/// // A filter that is refused changes nothing.
/// assert!(logs.control().set_filter("debgu").is_err());
/// assert_eq!(logs.control().filter(), "warn");
/// # Ok::<(), LogError>(())
/// ```
pub fn start(filter: &str, format: Format) -> Result<Logs, LogError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let rate = Rate::default();
    let queue = Queue::start(io::stderr(), rate.clone()).map_err(LogError::Thread)?;
    let lines = lines(format, queue.clone(), io::stderr().is_terminal());
    let subscriber = tracing_subscriber::registry().with(filter).with(rate).with(lines);
    subscriber.try_init().map_err(|_| LogError::Twice)?;
    let control = Control { filter: handle, dropped: queue.dropped.clone() };
    Ok(Logs { control, queue })
}

fn lines<S, W>(format: Format, writer: W, colour: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        Format::Text => lines.with_ansi(colour).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    }
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    let refused = |why: String| LogError::Filter { filter: filter.to_owned(), why };
    if filter.trim().is_empty() {
        return Err(refused("it is empty".to_owned()));
    }
    // Alone, a word that is no level would be taken for the name of a part of the program, and silence all others.
    let is_level = |word: &str| LevelFilter::from_str(word.trim()).is_ok();
    if let Some(word) = filter.split(',').find(|it| !it.contains(['=', '[', ']']) && !is_level(it)) {
        return Err(refused(format!("`{word}` is not a level")));
    }
    EnvFilter::from_str(filter).map_err(|error| refused(error.to_string()))
}

// === impl Logs ===

impl Logs {
    /// For changing the filter, such as on the admin port.
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.queue.flush();
    }
}

// === impl Control ===

impl Control {
    /// Replaces the filter for all that is logged from now on.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let parsed = parse(filter)?;
        let refused =
            |error: reload::Error| LogError::Filter { filter: filter.to_owned(), why: error.to_string() };
        self.filter.reload(parsed).map_err(refused)
    }

    /// The filter in force.
    pub fn filter(&self) -> String {
        self.filter.with_current(ToString::to_string).unwrap_or_default()
    }

    /// How many lines were lost because nobody read them fast enough.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn detached(filter: &str) -> (Self, impl Sized) {
        let (layer, handle) = reload::Layer::new(parse(filter).unwrap());
        (Self { filter: handle, dropped: Arc::default() }, layer)
    }
}

// === impl Queue ===

impl Queue {
    fn start(out: impl Write + Send + 'static, rate: Rate) -> io::Result<Self> {
        let (entries, waiting) = sync_channel(QUEUE);
        let queue = Self { entries, dropped: Arc::default() };
        let dropped = queue.dropped.clone();
        std::thread::Builder::new()
            .name("logs".to_owned())
            .spawn(move || write(&waiting, out, &dropped, &rate))?;
        Ok(queue)
    }

    fn flush(&self) {
        let (done, flushed) = sync_channel(1);
        if self.entries.try_send(Entry::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(FLUSH);
        }
    }
}

/// Each event is one call of `write`: the formatting layer makes the whole line first.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.entries.try_send(Entry::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Writes until the last sender is gone. Errors have nowhere to be told.
fn write(waiting: &Receiver<Entry>, mut out: impl Write, dropped: &AtomicU64, rate: &Rate) {
    let (mut told, mut summed_up) = (0, Instant::now());
    loop {
        match waiting.recv_timeout(SUMMARY) {
            Ok(Entry::Line(line)) => {
                let _ = out.write_all(&line);
            }
            Ok(Entry::Flush(done)) => {
                let _ = out.flush();
                let _ = done.try_send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if summed_up.elapsed() >= SUMMARY {
            summed_up = Instant::now();
            rate.take_suppressed().into_iter().for_each(Suppressed::tell);
        }
        let lost = dropped.load(Ordering::Relaxed);
        if lost > told {
            let _ = writeln!(
                out,
                "{} log lines were lost: they came faster than they could be written",
                lost - told
            );
            told = lost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Terminal;
    use super::*;

    #[test]
    fn a_slow_terminal_costs_lines_and_says_how_many() {
        let terminal = Terminal::default();
        let stuck = terminal.written.clone();
        let mut queue = Queue::start(terminal.clone(), Rate::default()).unwrap();
        {
            let _held = stuck.lock().unwrap();
            // One line may be in the writer's hand, the queue holds the rest, these are too many by at least 99.
            for _ in 0..QUEUE + 100 {
                queue.write_all(b"line\n").unwrap();
            }
        }
        let (done, flushed) = sync_channel(1);
        queue.entries.send(Entry::Flush(done)).unwrap();
        flushed.recv().unwrap();
        let written = String::from_utf8(terminal.written.lock().unwrap().clone()).unwrap();
        let lines = written.lines().filter(|it| *it == "line").count();
        let lost = usize::try_from(queue.dropped.load(Ordering::Relaxed)).unwrap();
        assert!(lost >= 99, "{lost}");
        assert_eq!(lines + lost, QUEUE + 100);
        assert!(written.contains("log lines were lost"), "{lost} lost");
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_examples() {
        for filter in ["", "loud", "fairway=loud"] {
            let error = parse(filter).unwrap_err().to_string();
            assert!(error.contains("Examples"), "{error}");
        }
        for filter in ["info", "warn,fairway_waypoint=debug", "h2=off"] {
            assert!(parse(filter).is_ok(), "{filter}");
        }
    }
}
