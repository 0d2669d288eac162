//! Which files changed since the last look.

use crate::diagnostic::{Diagnostic, Reason};
use crate::source::scan::FileChange;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// No manifest is larger; a file that is was not meant for us.
const LARGEST: u64 = 32 * 1024 * 1024;
/// No tree of manifests is deeper; a link that leads back up ends here.
const DEEPEST: usize = 32;
/// A file that changed less than this before it was read is read again at the next look: within one tick of the file
/// system's clock a second change would not show.
const TICK: Duration = Duration::from_millis(20);

/// Remembers what was seen.
#[derive(Debug, Default)]
pub(super) struct Walk {
    seen: BTreeMap<PathBuf, Stamp>,
    /// Directories that could not be listed at the last look.
    unlisted: BTreeMap<PathBuf, String>,
}

/// What tells one state of a file from another.
#[derive(Clone, Debug)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
    settled: bool,
}

impl Walk {
    /// Reads every file that changed.
    pub(super) fn changes(&mut self, root: &Path) -> Vec<(PathBuf, FileChange)> {
        let mut found = BTreeMap::new();
        self.unlisted.clear();
        self.list(root, 0, &mut found);
        let (mut changes, mut now) = (Vec::new(), BTreeMap::new());
        for (path, metadata) in found {
            let stamp = Stamp::read(&metadata);
            if self.seen.get(&path).is_none_or(|it| !it.is_same(&stamp)) {
                changes.push((path.clone(), read(&path, &metadata)));
            }
            now.insert(path, stamp);
        }
        for (path, stamp) in std::mem::take(&mut self.seen) {
            if now.contains_key(&path) {
                continue;
            }
            // A directory that cannot be listed says nothing of its files.
            match self.unlisted.keys().any(|it| path.starts_with(it)) {
                true => drop(now.insert(path, stamp)),
                false => changes.push((path, FileChange::Gone)),
            }
        }
        self.seen = now;
        changes
    }

    /// What is wrong with the directories themselves.
    pub(super) fn problems(&self, root: &Path) -> Vec<Diagnostic> {
        self.unlisted.iter().map(|(path, why)| unlisted(path, why, path == root)).collect()
    }

    fn list(&mut self, directory: &Path, depth: usize, found: &mut BTreeMap<PathBuf, Metadata>) {
        let entries = match std::fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries,
            Err(error) => {
                self.unlisted.insert(directory.to_owned(), error.to_string());
                return;
            }
        };
        for entry in entries {
            let path = entry.path();
            // Hidden: version control, editors' own files, the `..data` of a mounted ConfigMap (its links are read).
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            if metadata.is_dir() && depth < DEEPEST {
                self.list(&path, depth + 1, found);
            } else if metadata.is_file() && is_manifest(&path) {
                found.insert(path, metadata);
            }
        }
    }
}

/// A directory that cannot be listed.
pub(in crate::source) fn unlisted(path: &Path, why: &str, is_root: bool) -> Diagnostic {
    let message =
        format!("the directory cannot be listed: {why}; the objects that were in it before stay in force");
    let remedy = if is_root { "put the directory back" } else { "make it readable" };
    Diagnostic::error(Reason::DirectoryUnreadable, "", message, remedy).at(path, 0)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json")
}

fn read(path: &Path, metadata: &Metadata) -> FileChange {
    if metadata.len() > LARGEST {
        return FileChange::Unreadable(format!("it has {} bytes, more than {LARGEST}", metadata.len()));
    }
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => FileChange::Text(text),
        Ok(Err(_)) => FileChange::Unreadable("it is not UTF-8".to_owned()),
        Err(error) => FileChange::Unreadable(error.to_string()),
    }
}

impl Stamp {
    fn is_same(&self, other: &Self) -> bool {
        self.settled
            && (self.modified, self.length, self.inode) == (other.modified, other.length, other.inode)
    }

    fn read(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok();
        let age = modified.and_then(|it| SystemTime::now().duration_since(it).ok());
        Self {
            modified,
            length: metadata.len(),
            inode: metadata.ino(),
            settled: age.is_none_or(|it| it > TICK),
        }
    }
}
