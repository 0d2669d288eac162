//! What a set of files amounts to: the objects in force, and what is wrong. Pure: files come in as texts.

use super::document;
use super::object::{Manifest, manifests};
use super::problem::SourceProblem;
use super::schema::Violation;
use crate::compile::Severity;
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
    /// It is gone.
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
    problems: Vec<SourceProblem>,
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
                    let message = format!("cannot be read: {why}");
                    keep(&path, 0, &message, "make it readable", old.unwrap_or_default())
                }
            };
            touched.extend(new.objects.keys().cloned());
            self.files.insert(path, new);
        }
        touched.into_iter().filter_map(|it| self.settle(it)).collect()
    }

    /// Everything that is wrong with the files as they are now.
    pub fn problems(&self) -> Vec<SourceProblem> {
        let mut problems: Vec<SourceProblem> =
            self.files.values().flat_map(|it| it.problems.iter().cloned()).collect();
        for (path, file) in &self.files {
            for (object, (line, _)) in &file.objects {
                let Some(held) = self.held.get(object).filter(|it| it.owner != *path) else { continue };
                problems.push(SourceProblem {
                    severity: Severity::Error,
                    file: path.clone(),
                    line: *line,
                    object: object.to_string(),
                    field: String::new(),
                    message: format!("stands in {} already, which stays in force", held.owner.display()),
                    remedy: "remove one of the two".to_owned(),
                });
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

/// A file that says nothing we can use: what it said before stays in force.
fn keep(path: &Path, line: usize, message: &str, remedy: &str, old: File) -> File {
    let mut message = message.to_owned();
    if !old.objects.is_empty() {
        message.push_str("; what it said before stays in force");
    }
    let problem = SourceProblem {
        severity: Severity::Error,
        file: path.to_owned(),
        line,
        object: String::new(),
        field: String::new(),
        message,
        remedy: remedy.to_owned(),
    };
    File { objects: old.objects, problems: vec![problem] }
}

fn read(path: &Path, text: &str, old: File) -> File {
    let documents = match document::parse(text) {
        Ok(documents) => documents,
        Err(error) => return keep(path, error.line, &error.message, "correct the YAML", old),
    };
    if text.trim().is_empty() && !old.objects.is_empty() {
        // More often a file that is being written than one that somebody emptied.
        return keep(path, 0, "is empty", "delete the file to remove its objects", old);
    }
    let (mut file, mut is_whole) = (File::default(), true);
    for (line, manifest) in documents.into_iter().flat_map(manifests) {
        let mut problem = |severity, object: String, it: Violation| {
            let (field, message, remedy) = (it.field, it.message, it.remedy);
            file.problems.push(SourceProblem {
                severity,
                file: path.to_owned(),
                line,
                object,
                field,
                message,
                remedy,
            });
        };
        match manifest {
            Manifest::Object(object) => {
                let reference = object.reference();
                if let Some((first, _)) = file.objects.get(&reference) {
                    let message = format!("stands in line {first} already, which stays in force");
                    let it = Violation {
                        field: String::new(),
                        message,
                        remedy: "remove one of the two".to_owned(),
                    };
                    problem(Severity::Error, reference.to_string(), it);
                } else {
                    file.objects.insert(reference, (line, object));
                }
            }
            Manifest::Refused(reference, violations, closed) => {
                violations.into_iter().for_each(|it| problem(Severity::Error, reference.to_string(), it));
                let last_good = old.objects.get(&reference).cloned();
                if let Some(in_place) = last_good.or_else(|| closed.map(|it| (line, it))) {
                    file.objects.entry(reference).or_insert(in_place);
                }
            }
            Manifest::Unknown(what, violations) => {
                violations.into_iter().for_each(|it| problem(Severity::Error, what.clone(), it));
                is_whole = false;
            }
            Manifest::Ignored(what) => {
                let message = "is of no concern to Fairway and ignored".to_owned();
                problem(
                    Severity::Note,
                    what,
                    Violation { field: String::new(), message, remedy: String::new() },
                );
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
