//! Where the roots survive a restart.

use fairway_identity::BoxFuture;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a save makes of the request for a rotation that somebody has left where the text is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationRequest {
    /// It stays, and is heard.
    Stays,
    /// It goes: this is the answer.
    Answered,
}

/// Keeps one secret text.
pub trait Store: Send + Sync + 'static {
    /// What was saved last, if anything was.
    fn load(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>>;

    /// Replaces it, whole or not at all.
    fn save(&self, secret: String, request: RotationRequest) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Waits until somebody asks for a rotation where the text is kept. By default nobody can.
    fn asked(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// Why the roots cannot be loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system says no.
    #[error("cannot {what} {path}: {why}")]
    Io {
        /// The operation that failed, such as `read`.
        what: &'static str,
        /// The file it failed on.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// Two authorities with one set of roots would each forget what the other did.
    #[error("the state directory {0} is in use by another process")]
    InUse(PathBuf),
    /// The API server says no.
    #[error("cannot {what} Secret {secret}: {why}")]
    Secret {
        /// The operation that failed, such as `read`.
        what: &'static str,
        /// The Secret it failed on, as `<namespace>/<name>`.
        secret: String,
        /// What the API server said.
        why: Box<kube::Error>,
    },
    /// A Secret that somebody else filled.
    #[error("Secret {secret} has no key {key} that is text; rename it, and one is made")]
    NotOurs {
        /// The Secret, as `<namespace>/<name>`.
        secret: String,
        /// What it should have.
        key: &'static str,
    },
    /// Another replica was faster.
    #[error("Secret {0} was changed by somebody else since it was read")]
    Changed(String),
}

/// Forgets everything with the process.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Option<String>>);

/// A file in a directory of its own, readable for its owner only.
#[derive(Debug)]
pub struct FileStore {
    file: PathBuf,
    /// Locked as long as the directory is ours.
    _lock: File,
}

// === impl Memory ===

impl Store for Memory {
    fn load(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        let saved = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(std::future::ready(Ok(saved)))
    }

    fn save(&self, secret: String, _: RotationRequest) -> BoxFuture<'_, Result<(), StoreError>> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(secret);
        Box::pin(std::future::ready(Ok(())))
    }
}

// === impl FileStore ===

impl FileStore {
    /// Takes the directory, making it if it is not there.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed("make", directory))?;
        let lock_path = directory.join("authority.lock");
        let lock = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&lock_path);
        let lock = lock.map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { file: directory.join("authority.json"), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(directory.to_owned())),
            Err(TryLockError::Error(why)) => Err(failed("lock", &lock_path)(why)),
        }
    }
}

impl Store for FileStore {
    // The files are small and rarely touched, so the event loop does not notice.

    fn load(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        let loaded = match std::fs::read_to_string(&self.file) {
            Ok(text) => Ok(Some(text)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(failed("read", &self.file)(why)),
        };
        Box::pin(std::future::ready(loaded))
    }

    fn save(&self, secret: String, _: RotationRequest) -> BoxFuture<'_, Result<(), StoreError>> {
        let saved = replace(&self.file, secret.as_bytes()).map_err(failed("write", &self.file));
        Box::pin(std::future::ready(saved))
    }
}

/// Written beside and moved over, so that a crash leaves the old or the new text, never half of one.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // `create_new`: the mode holds from the first byte, and nobody else's file is written to.
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |why| StoreError::Io { what, path, why }
}
