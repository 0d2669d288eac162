//! How lines of the log look, for tests.

use super::{Format, lines};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::layer::SubscriberExt;

/// A terminal that keeps what is written on it. Clones are of the same.
#[derive(Clone, Default)]
pub(super) struct Terminal {
    pub(super) written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What this thread logs meanwhile, line by line as a program writes it, without the time.
pub fn logged(format: Format, meanwhile: impl FnOnce()) -> Vec<String> {
    let terminal = Terminal::default();
    let written = terminal.written.clone();
    let subscriber = tracing_subscriber::registry().with(lines(format, move || terminal.clone(), false));
    tracing::subscriber::with_default(subscriber, meanwhile);
    let written = std::mem::take(&mut *written.lock().unwrap_or_else(PoisonError::into_inner));
    let without_time = |line: &str| match format {
        Format::Text => line.split_once(' ').map_or("", |(_, rest)| rest.trim_start()).to_owned(),
        // `{"timestamp":"…","level":…`
        Format::Json => line.split_once(',').map_or("", |(_, rest)| rest).to_owned(),
    };
    String::from_utf8_lossy(&written).lines().map(without_time).collect()
}
