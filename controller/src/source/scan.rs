//! What a set of files amounts to: the objects in force, and what is wrong. Pure: files come in as texts.

use super::document;
use super::object::{Manifest, manifests};
use crate::diagnostic::{Diagnostic, Reason, Subject};
use crate::resources::{Edit, Object, ObjectRef};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// It says this now.
    Text(String),
    /// It is there but cannot be read, and why.
    Unreadable(String),
    /// The file does not exist any more: its objects are removed.
    Gone,
}

/// The files and the objects they put in force.
#[derive(Debug, Default)]
pub struct Scan {
    files: BTreeMap<PathBuf, File>,
    held: BTreeMap<ObjectRef, Held>,
}

#[derive(Debug, Default)]
struct File {
    /// The objects this file would put in force, with their lines.
    objects: BTreeMap<ObjectRef, (usize, Object)>,
    problems: Vec<Diagnostic>,
}

#[derive(Debug)]
struct Held {
    owner: PathBuf,
    object: Object,
}

impl Scan {
    /// Takes changed files in and says what changes by that.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = (PathBuf, FileChange)>) -> Vec<Edit> {
        let mut touched = BTreeSet::new();
        for (path, change) in changes {
            let old = self.files.remove(&path);
            touched.extend(old.iter().flat_map(|it| it.objects.keys().cloned()));
            let new = match change {
                FileChange::Gone => continue,
                FileChange::Text(text) => read(&path, &text, old.unwrap_or_default()),
                FileChange::Unreadable(why) => {
                    let error = Diagnostic::error(
                        Reason::FileUnreadable,
                        "",
                        format!("the file cannot be read: {why}"),
                        "make it readable",
                    );
                    keep(error.at(&*path, 0), old.unwrap_or_default())
                }
            };
            touched.extend(new.objects.keys().cloned());
            self.files.insert(path, new);
        }
        touched.into_iter().filter_map(|it| self.settle(it)).collect()
    }

    /// Everything that is wrong with the files as they are now.
    pub fn problems(&self) -> Vec<Diagnostic> {
        let mut problems: Vec<Diagnostic> =
            self.files.values().flat_map(|it| it.problems.iter().cloned()).collect();
        for (path, file) in &self.files {
            for (object, (line, _)) in &file.objects {
                let Some(held) = self.held.get(object).filter(|it| it.owner != *path) else { continue };
                let message =
                    format!("the object is in {} too, and that one stays in force", held.owner.display());
                let error = Diagnostic::error(Reason::ObjectInTwoFiles, "", message, "remove one of the two");
                problems.push(error.about(object).at(&**path, *line));
            }
        }
        problems.sort();
        problems
    }

    /// The file an object in force comes from, and its line.
    pub fn origin(&self, object: &ObjectRef) -> Option<(&Path, usize)> {
        let owner = &self.held.get(object)?.owner;
        let (line, _) = self.files.get(owner)?.objects.get(object)?;
        Some((owner, *line))
    }

    /// Decides which file an object comes from: the one it came from before, else the first by name.
    fn settle(&mut self, object: ObjectRef) -> Option<Edit> {
        let before = self.held.remove(&object);
        let offers = |path: &Path| self.files.get(path).and_then(|it| it.objects.get(&object));
        let stays = before.as_ref().map(|it| it.owner.clone()).filter(|it| offers(it).is_some());
        let owner = stays.or_else(|| {
            let mut files = self.files.iter().filter(|(_, file)| file.objects.contains_key(&object));
            files.next().map(|(path, _)| path.clone())
        });
        let Some((owner, now)) = owner.and_then(|it| offers(&it).map(|(_, now)| (it.clone(), now.clone())))
        else {
            return before.map(|_| Edit::Remove(object));
        };
        let changed = before.is_none_or(|it| it.object != now);
        self.held.insert(object, Held { owner, object: now.clone() });
        changed.then_some(Edit::Upsert(now))
    }
}

/// A file of which nothing can be used: what it said before stays in force.
fn keep(mut error: Diagnostic, old: File) -> File {
    if !old.objects.is_empty() {
        error.message.push_str("; the objects that were in it before stay in force");
    }
    File { objects: old.objects, problems: vec![error] }
}

fn read(path: &Path, text: &str, old: File) -> File {
    let documents = match document::parse(text) {
        Ok(documents) => documents,
        Err(error) => {
            let message = format!("this is not YAML: {}", error.message);
            let problem = Diagnostic::error(Reason::YamlInvalid, "", message, "fix the YAML syntax");
            return keep(problem.at(path, error.line), old);
        }
    };
    if text.trim().is_empty() && !old.objects.is_empty() {
        // More often a file that is being written than one that somebody emptied.
        let remedy = "delete the file to remove its objects";
        return keep(Diagnostic::error(Reason::FileEmpty, "", "the file is empty", remedy).at(path, 0), old);
    }
    let (mut file, mut is_whole) = (File::default(), true);
    for (line, manifest) in documents.into_iter().flat_map(manifests) {
        match manifest {
            Manifest::Object(object) => {
                let reference = object.reference();
                if let Some((first, _)) = file.objects.get(&reference) {
                    let message = format!("the object is in line {first} too, and that one stays in force");
                    let error = Diagnostic::error(Reason::ObjectTwice, "", message, "remove one of the two");
                    file.problems.push(error.about(&reference).at(path, line));
                } else {
                    file.objects.insert(reference, (line, object));
                }
            }
            Manifest::Refused(reference, errors, closed) => {
                file.problems.extend(errors.into_iter().map(|error| error.about(&reference).at(path, line)));
                let last_good = old.objects.get(&reference).cloned();
                if let Some(in_place) = last_good.or_else(|| closed.map(|it| (line, it))) {
                    file.objects.entry(reference).or_insert(in_place);
                }
            }
            Manifest::Unknown(kind, errors) => {
                let errors = errors.into_iter().map(|error| match kind.is_empty() {
                    true => error.at(path, line),
                    false => error.about(Subject::kind(kind.clone())).at(path, line),
                });
                file.problems.extend(errors);
                is_whole = false;
            }
            Manifest::Unread(kind, note) => {
                file.problems.push(note.about(Subject::kind(kind)).at(path, line));
            }
        }
    }
    if !is_whole {
        // One of its manifests may be any of those that are missing.
        for (reference, object) in old.objects {
            file.objects.entry(reference).or_insert(object);
        }
    }
    file
}

#[cfg(test)]
mod tests;
