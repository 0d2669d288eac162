//! The node's directories: reading, atomic writing, and watching them.

use crate::cni::conflist::File;
use anyhow::Context;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Notify;

/// The files of a directory that are text. Other files cannot be configurations.
pub(super) fn files(directory: &Path) -> anyhow::Result<Vec<File>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry.with_context(|| directory.display().to_string())?;
        if let (Ok(name), Ok(text)) = (entry.file_name().into_string(), fs::read_to_string(entry.path())) {
            found.push(File { name, text });
        }
    }
    Ok(found)
}

/// Writes a file atomically. The temporary name has no extension that a runtime reads.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = path.with_file_name(format!(".{name}.part"));
    let writing = || {
        let _ = fs::remove_file(&part);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
        io::Write::write_all(&mut file, bytes)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        // Without this the file could be empty after a power failure.
        file.sync_all()?;
        fs::rename(&part, path)
    };
    writing().with_context(|| path.display().to_string())
}

/// Watches directories for changes.
pub(super) struct Watcher(Arc<Notify>);

impl Watcher {
    pub(super) fn start(directories: &[&Path]) -> anyhow::Result<Self> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC).context("inotify")?;
        let events = WatchFlags::CLOSE_WRITE | WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        for directory in directories {
            inotify::add_watch(&descriptor, *directory, events)
                .with_context(|| directory.display().to_string())?;
        }
        let events = Arc::new(Notify::new());
        let tell = events.clone();
        // The thread ends with the process. If it ends earlier, the periodic check finds changes.
        let listen = move || {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(&descriptor, &mut buffer);
            while reader.next().is_ok() {
                tell.notify_one();
            }
        };
        std::thread::Builder::new().name("directories".to_owned()).spawn(listen).context("start a thread")?;
        Ok(Self(events))
    }

    /// Waits for a change in one of the directories.
    pub(super) async fn changed(&self) {
        self.0.notified().await;
    }
}
