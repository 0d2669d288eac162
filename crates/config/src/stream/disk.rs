//! The last good configuration in a file, so that a proxy that is restarted serves before it hears a controller.
//!
//! It holds private keys: only the owner may read it. It is written off the proxy's way, whole, beside the old one, and
//! renamed over it; what is read is checked against a hash, and used only by the proxy it was written for.

use super::{Proxy, Subscription};
use crate::model::{Generation, Resource, ResourceKey};
use crate::proto;
use crate::wire::{self, ContentHash, Invalid};
use crate::{Delta, Snapshot};
use prost::Message;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tracing::warn;

/// Begins every file; the digit is the version of what follows.
const MAGIC: &[u8] = b"fairway configuration 1\n";

/// After a write, so that a storm of commits does not become one of writes.
const PAUSE: Duration = Duration::from_secs(1);

/// What an earlier run of the program kept.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The configuration that was in force then.
    pub snapshot: Snapshot,
    /// Its resources' hashes, as this program encodes them.
    pub hashes: Vec<(ResourceKey, ContentHash)>,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file that was read.
        path: PathBuf,
        /// What the system says of it.
        source: io::Error,
    },
    /// It is not such a file, or of another version.
    #[error("{0} is not a kept configuration of this version; it is written anew after the next commit")]
    NotOurs(PathBuf),
    /// Its hash is wrong.
    #[error("{0} is damaged; it is written anew after the next commit")]
    Damaged(PathBuf),
    /// It was written for another proxy.
    #[error("{path} is the configuration of {owner}, not of this proxy")]
    Foreign {
        /// The file that was read.
        path: PathBuf,
        /// The proxy that the file says it belongs to.
        owner: String,
    },
    /// A resource in it is not valid for this program.
    #[error("{path} holds a resource that this program refuses: {invalid}")]
    Refused {
        /// The file that was read.
        path: PathBuf,
        /// The field, and what is wrong with it.
        invalid: Invalid,
    },
}

/// Hands configurations to be written.
#[derive(Debug)]
pub struct Saver(watch::Sender<Snapshot>);

impl Saver {
    /// Has this one written soon, unless a newer one comes first.
    pub fn save(&self, snapshot: &Snapshot) {
        self.0.send_replace(snapshot.clone());
    }
}

/// A saver, and the future that writes, while `owned` is true.
pub fn saver(
    path: PathBuf,
    owner: Proxy,
    mut owned: watch::Receiver<bool>,
) -> (Saver, impl Future<Output = Infallible> + Send) {
    let (sender, mut snapshots) = watch::channel(Snapshot::default());
    let write = async move {
        loop {
            if snapshots.changed().await.is_err() || owned.wait_for(|it| *it).await.is_err() {
                return std::future::pending().await;
            }
            let snapshot = snapshots.borrow_and_update().clone();
            let (to, owner) = (path.clone(), owner.clone());
            let written = tokio::task::spawn_blocking(move || save(&to, &owner, &snapshot)).await;
            if let Err(error) = written.unwrap_or_else(|stopped| Err(io::Error::other(stopped))) {
                warn!(path = %path.display(), %error, "cannot keep the configuration for the next run");
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    (Saver(sender), write)
}

/// Reads what an earlier run of this proxy wrote; none when there is no file.
pub async fn load(path: PathBuf, owner: Proxy) -> Result<Option<Saved>, LoadError> {
    let read = tokio::task::spawn_blocking({
        let path = path.clone();
        move || match fs::read(&path) {
            Ok(content) => parse(&path, &owner, &content).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LoadError::Read { path, source }),
        }
    });
    read.await.unwrap_or_else(|stopped| Err(LoadError::Read { path, source: io::Error::other(stopped) }))
}

/// Writes a configuration; on return it is on the disk, and at no time is there half a file.
pub fn save(path: &Path, owner: &Proxy, snapshot: &Snapshot) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    // Of this process: another one may write the same file, such as the next tunnel of this node.
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Made anew, so that neither the permissions of an old file nor a link that somebody put there counts.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(&content(owner, snapshot))?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn content(owner: &Proxy, snapshot: &Snapshot) -> Vec<u8> {
    let subscription = Subscription::new(owner.clone(), env!("CARGO_PKG_VERSION"));
    let body = proto::SavedSnapshot {
        owner: Some((&subscription).into()),
        generation: snapshot.generation.0,
        resources: snapshot.resources().map(|it| wire::encode(&it).bytes).collect(),
    }
    .encode_to_vec();
    seal(&body)
}

/// The content of a file with this body: what [`parse`] takes apart.
pub fn seal(body: &[u8]) -> Vec<u8> {
    [MAGIC, Sha256::digest(body).as_slice(), body].concat()
}

/// The content of a file; never panics, whatever it is.
pub fn parse(path: &Path, owner: &Proxy, content: &[u8]) -> Result<Saved, LoadError> {
    let not_ours = || LoadError::NotOurs(path.to_owned());
    let (hash, body) =
        content.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk::<32>()).ok_or_else(not_ours)?;
    if Sha256::digest(body).as_slice() != hash {
        return Err(LoadError::Damaged(path.to_owned()));
    }
    let saved = proto::SavedSnapshot::decode(body).map_err(|_| not_ours())?;
    let written_for = saved.owner.and_then(|it| Subscription::try_from(it).ok()).ok_or_else(not_ours)?.proxy;
    if written_for != *owner {
        return Err(LoadError::Foreign { path: path.to_owned(), owner: written_for.to_string() });
    }
    let upserts: Vec<Resource> = saved
        .resources
        .into_iter()
        .map(wire::decode)
        .collect::<Result<_, _>>()
        .map_err(|invalid| LoadError::Refused { path: path.to_owned(), invalid })?;
    // Hashes of what would be said now: what an older program did not understand differs, and is sent again.
    let hashes = upserts.iter().map(wire::encode).map(|it| (it.key, it.hash)).collect();
    let delta = Delta { generation: Generation(saved.generation), upserts, removals: Vec::new() };
    Ok(Saved { snapshot: Snapshot::default().apply(delta).0, hashes })
}

#[cfg(test)]
mod tests;
