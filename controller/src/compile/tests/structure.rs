//! The modules of the compiler depend on each other in one direction.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder depends on those before it. Files beside the folders are what all of them share.
const ORDER: [&str; 7] = ["names", "workload", "gateway", "waypoint", "policy", "route", "service"];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// The folder or the file at the top that a path of modules leads into.
fn top(path: &str) -> &str {
    let end = path.find(|it: char| !it.is_alphanumeric() && it != '_');
    &path[..end.unwrap_or(path.len())]
}

/// What a file uses, by the names at the top of the compiler. Braces at the top are opened.
fn uses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, marker) in text.match_indices("crate::compile::") {
        let rest = &text[at + marker.len()..];
        match rest.strip_prefix('{') {
            None => found.push(top(rest).to_owned()),
            Some(list) => {
                let list = &list[..list.find(';').unwrap_or(list.len())];
                let mut depth = 0;
                let at_top = list.split_inclusive([',', '{', '}']).filter(|it| {
                    let was = depth;
                    depth += it.matches('{').count() as i32 - it.matches('}').count() as i32;
                    was == 0
                });
                found.extend(at_top.map(|it| top(it.trim()).to_owned()).filter(|it| !it.is_empty()));
            }
        }
    }
    found
}

#[test]
fn folders_depend_on_those_before_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/compile");
    let (mut all, mut wrong) = (Vec::new(), BTreeMap::new());
    files(&root, &mut all);
    let rank = |it: &str| ORDER.iter().position(|folder| *folder == it);
    for file in all {
        let inside = file.strip_prefix(&root).unwrap();
        let own = inside.iter().next().unwrap().to_str().unwrap();
        if own == "tests" || inside == Path::new("mod.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for used in uses(&text) {
            // What all share knows none of them.
            if rank(&used).is_some_and(|used| rank(own).is_none_or(|own| own < used)) {
                wrong.insert(inside.to_owned(), used);
            }
        }
    }
    assert_eq!(wrong, BTreeMap::new(), "{ORDER:?}");
}

#[test]
fn uses_are_found_in_braces_too() {
    let text =
        "use crate::compile::{gateway, names::{a, b}, stage};\nuse crate::compile::route::binding::Bind;";
    assert_eq!(uses(text), ["gateway", "names", "stage", "route"]);
}
