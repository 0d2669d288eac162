//! A directory of YAML and JSON, watched.

mod walk;

use super::Source;
use super::scan::Scan;
use crate::diagnostic::Diagnostic;
use crate::resources::Edit;
use notify::{RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use walk::Walk;
#[cfg(test)]
pub(super) use walk::unlisted;

/// How a directory is watched.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryOptions {
    /// How long nothing may change before it is read: an editor writes in more than one step.
    pub quiet: Duration,
    /// How long reading may be put off by changes that do not end.
    pub max_delay: Duration,
    /// How often to look even if the system reports no change (network file systems do not).
    pub rescan: Duration,
}

/// A directory that cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// It is not there, or not a directory.
    #[error("{path} cannot be read: {reason}; give the path of a directory of YAML files")]
    Unreadable {
        /// The directory that was given.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
}

/// What changed, and what is wrong now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// What changed in the objects since the last batch.
    pub edits: Vec<Edit>,
    /// Everything that is wrong with the files as they are now.
    pub problems: Vec<Diagnostic>,
}

/// A directory of YAML and JSON, watched.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    options: DirectoryOptions,
    /// None while a scan runs, and after one that did not come back.
    state: Option<State>,
    changed: mpsc::Receiver<()>,
    /// Reports changes for as long as it lives; none where the system cannot, then only the rescan finds them.
    _watcher: Option<notify::RecommendedWatcher>,
    reported: Option<Vec<Diagnostic>>,
}

#[derive(Debug, Default)]
struct State {
    walk: Walk,
    scan: Scan,
}

// === impl DirectoryOptions ===

impl Default for DirectoryOptions {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(40),
            max_delay: Duration::from_secs(1),
            rescan: Duration::from_secs(5),
        }
    }
}

// === impl Directory ===

impl Directory {
    /// Starts to watch. The first batch is everything there is.
    pub fn watch(root: &Path, options: DirectoryOptions) -> Result<Self, WatchError> {
        let unreadable = |reason| WatchError::Unreadable { path: root.to_owned(), reason };
        std::fs::read_dir(root).map_err(unreadable)?;
        let (signal, changed) = mpsc::channel(1);
        let on_event = move |event: notify::Result<notify::Event>| {
            // Reading is no change, and we read.
            if !event.is_ok_and(|it| it.kind.is_access()) {
                let _ = signal.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(on_event)
            .and_then(|mut it| it.watch(root, RecursiveMode::Recursive).map(|()| it))
            .inspect_err(
                |error| tracing::warn!(%error, "the directory is not watched, only looked at now and then"),
            );
        Ok(Self {
            root: root.to_owned(),
            options,
            state: Some(State::default()),
            changed,
            _watcher: watcher.ok(),
            reported: None,
        })
    }

    /// Waits for the next change of objects or problems. None when the directory cannot be looked at any more.
    pub async fn next_batch(&mut self) -> Option<Batch> {
        self.next_batch_until(None).await
    }

    /// Waits for the next change of objects or problems, and after the first no longer than until a deadline: then there may
    /// be none.
    pub async fn next_batch_until(&mut self, deadline: Option<Instant>) -> Option<Batch> {
        loop {
            if self.reported.is_some() {
                self.wait(deadline).await;
            }
            let batch = self.look().await?;
            let is_late = deadline.is_some_and(|it| it <= Instant::now());
            let is_news =
                is_late || !batch.edits.is_empty() || self.reported.as_ref() != Some(&batch.problems);
            self.reported = Some(batch.problems.clone());
            if is_news {
                return Some(batch);
            }
        }
    }

    /// The file an object in force comes from, and its line.
    pub fn origin(&self, object: &crate::resources::ObjectRef) -> Option<(&Path, usize)> {
        self.state.as_ref()?.scan.origin(object)
    }

    /// Waits for a change and then for quiet.
    async fn wait(&mut self, deadline: Option<Instant>) {
        let rescan = Instant::now() + self.options.rescan;
        tokio::select! {
            Some(()) = self.changed.recv() => {}
            () = tokio::time::sleep_until(deadline.map_or(rescan, |it| it.min(rescan))) => return,
        }
        let until = Instant::now() + self.options.max_delay;
        while Instant::now() < until {
            match tokio::time::timeout(self.options.quiet, self.changed.recv()).await {
                Ok(Some(())) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    async fn look(&mut self) -> Option<Batch> {
        let (root, mut state) = (self.root.clone(), self.state.take()?);
        // Reading files blocks; the proxies on this thread must not wait for a disk.
        let look = move || {
            let changes = state.walk.changes(&root);
            let edits = state.scan.apply(changes);
            let mut problems = state.scan.problems();
            problems.extend(state.walk.problems(&root));
            (state, Batch { edits, problems })
        };
        let (state, batch) = tokio::task::spawn_blocking(look).await.ok()?;
        self.state = Some(state);
        Some(batch)
    }
}

impl Source for Directory {
    async fn next(&mut self) -> Option<Vec<Edit>> {
        let batch = self.next_batch().await?;
        for problem in &batch.problems {
            tracing::warn!("{problem}");
        }
        Some(batch.edits)
    }
}

/// Reads a directory once.
pub(crate) fn read_once(root: &Path) -> Result<(Scan, Batch), WatchError> {
    std::fs::read_dir(root).map_err(|reason| WatchError::Unreadable { path: root.to_owned(), reason })?;
    let mut state = State::default();
    let changes = state.walk.changes(root);
    let edits = state.scan.apply(changes);
    let mut problems = state.scan.problems();
    problems.extend(state.walk.problems(root));
    Ok((state.scan, Batch { edits, problems }))
}

#[cfg(test)]
mod tests;
