//! Files of a crate that depend on each other in a circle: none of them can be read, tested or moved without the others.
//!
//! A file depends on another if a path in it leads to something that is written there. A name that a module only passes on (`pub use`) counts
//! for the file that it comes from. What tests use does not count.

use crate::modules::{test_modules, without_tests};
use crate::source::{Word, files, words};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module by its path from the crate's root; the root itself is empty.
type ModulePath = Vec<String>;

/// One name that a `use` brings in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Import {
    /// The name that it has here.
    name: String,
    /// The whole path, from the root.
    path: ModulePath,
    /// Whether it is passed on to others.
    is_public: bool,
}

/// A file's module, and what it names.
#[derive(Debug, Default)]
struct Source {
    imports: Vec<Import>,
    /// Paths outside of `use`, from the root.
    paths: Vec<ModulePath>,
}

/// The circles of the crate in `folder`, the largest first, each as the paths of its modules.
///
/// # Errors
/// A file that cannot be read.
pub fn find(root: &Path, folder: &str) -> Result<Vec<Vec<String>>, String> {
    let base = root.join(folder);
    let (mut texts, mut tests) = (BTreeMap::<ModulePath, String>::new(), BTreeSet::new());
    for path in files(&base)? {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let relative = path.strip_prefix(&base).unwrap_or(&path).with_extension("");
        let mut module: ModulePath = relative.iter().map(|it| it.to_string_lossy().into_owned()).collect();
        if module.first().is_some_and(|it| it == "bin" || it == "main") {
            continue;
        }
        if module.last().is_some_and(|it| it == "mod" || it == "lib") {
            module.pop();
        }
        tests.extend(test_modules(&words(&text)).into_iter().map(|name| [&module[..], &[name]].concat()));
        texts.insert(module, text);
    }
    texts.retain(|module, _| !(1..=module.len()).any(|depth| tests.contains(&module[..depth])));
    Ok(circles(&texts))
}

/// A complaint if the largest circle has more files than there may be, or fewer: the table's number only ever falls.
pub fn check(folder: &str, found: &[Vec<String>], allowed: usize) -> Option<String> {
    let largest = found.first().map_or(0, Vec::len);
    match largest.cmp(&allowed) {
        Ordering::Equal => None,
        Ordering::Greater => Some(format!(
            "{folder}: {largest} files depend on each other in a circle; there may be {allowed}: {}",
            found.first().map(|it| it.join(" ")).unwrap_or_default()
        )),
        Ordering::Less => Some(format!(
            "{folder}: the largest circle of files has {largest}, and the table allows {allowed}: write {largest} into it"
        )),
    }
}

fn circles(texts: &BTreeMap<ModulePath, String>) -> Vec<Vec<String>> {
    let sources: BTreeMap<&ModulePath, Source> =
        texts.iter().map(|(module, text)| (module, read(&without_tests(&words(text)), module))).collect();
    let mut edges = BTreeMap::<&ModulePath, BTreeSet<ModulePath>>::new();
    for (module, source) in &sources {
        let used = source.imports.iter().filter(|it| !(it.is_public && it.path.starts_with(module)));
        let paths = used.map(|it| &it.path).chain(&source.paths);
        let targets = paths.filter_map(|path| resolve(path, &sources, 0)).filter(|it| it != *module);
        edges.insert(module, targets.collect());
    }
    let reach = |from: &ModulePath| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(at) = open.pop() {
            open.extend(
                edges.get(&at).into_iter().flatten().filter(|it| seen.insert((*it).clone())).cloned(),
            );
        }
        seen
    };
    let reached: BTreeMap<&ModulePath, BTreeSet<ModulePath>> =
        sources.keys().map(|it| (*it, reach(it))).collect();
    let (mut found, mut done) = (Vec::<Vec<String>>::new(), BTreeSet::new());
    for (module, others) in &reached {
        let members: BTreeSet<&ModulePath> =
            others.iter().filter(|it| reached.get(it).is_some_and(|back| back.contains(*module))).collect();
        if members.len() > 1 && members.iter().all(|it| done.insert((*it).clone())) {
            found.push(members.iter().map(|it| it.join("::")).collect());
        }
    }
    found.sort_by_key(|it| std::cmp::Reverse(it.len()));
    found
}

/// The file in which what a path leads to is written; none if that is not in this crate.
fn resolve(path: &[String], sources: &BTreeMap<&ModulePath, Source>, depth: usize) -> Option<ModulePath> {
    let mut module = ModulePath::new();
    for (at, name) in path.iter().enumerate() {
        let below = [&module[..], std::slice::from_ref(name)].concat();
        if sources.contains_key(&below) {
            module = below;
            continue;
        }
        let imported = sources.get(&module)?.imports.iter().find(|it| it.name == *name && it.path != path);
        return match imported.filter(|_| depth < 8) {
            Some(it) => resolve(&[&it.path[..], &path[at + 1..]].concat(), sources, depth + 1),
            None => Some(module),
        };
    }
    Some(module)
}

fn read(words: &[Word<'_>], module: &[String]) -> Source {
    let (mut source, mut at) = (Source::default(), 0);
    while let Some(word) = words.get(at) {
        if word.text == "use" {
            let end = words[at..].iter().position(|it| it.text == ";").map_or(words.len(), |it| at + it);
            let before = at.checked_sub(1).map_or("", |it| words[it].text);
            let is_public = before == "pub" || before == ")";
            import(&words[at + 1..end], &[], module, is_public, &mut source.imports);
            at = end;
            continue;
        }
        let before = at.checked_sub(1).map_or("", |it| words[it].text);
        if ["crate", "super", "self"].contains(&word.text)
            && before != "::"
            && before != "in"
            && words.get(at + 1).is_some_and(|it| it.text == "::")
        {
            let end = words[at..]
                .iter()
                .position(|it| it.text != "::" && !is_name(it.text))
                .map_or(words.len(), |it| at + it);
            let names: Vec<&str> = words[at..end].iter().map(|it| it.text).filter(|it| *it != "::").collect();
            source.paths.extend(from_root(&names, module));
            at = end;
            continue;
        }
        at += 1;
    }
    source
}

fn is_name(text: &str) -> bool {
    text.starts_with(|it: char| it == '_' || it.is_alphanumeric())
}

/// The names of a `use`, of which `before` stands before the words.
fn import(words: &[Word<'_>], before: &[&str], module: &[String], is_public: bool, into: &mut Vec<Import>) {
    let mut path: Vec<&str> = before.to_vec();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        match word.text {
            "::" => {}
            "{" => {
                let (mut depth, mut start) = (0, at + 1);
                for (end, it) in words.iter().enumerate().skip(at) {
                    match it.text {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    if (it.text == "," && depth == 1) || depth == 0 {
                        import(&words[start..end], &path, module, is_public, into);
                        start = end + 1;
                    }
                    if depth == 0 {
                        return;
                    }
                }
                return;
            }
            "as" => {
                let name = words.get(at + 1).map_or("_", |it| it.text);
                return push(&path, name, module, is_public, into);
            }
            name => path.push(name),
        }
        at += 1;
    }
    if path.len() > before.len() {
        let name = path.last().copied().unwrap_or_default();
        push(&path, name, module, is_public, into);
    }
}

fn push(path: &[&str], name: &str, module: &[String], is_public: bool, into: &mut Vec<Import>) {
    let (path, name) = match path {
        [rest @ .., "self"] if !rest.is_empty() => {
            (rest, rest.last().copied().filter(|_| name == "self").unwrap_or(name))
        }
        all => (all, name),
    };
    if let Some(path) = from_root(path, module) {
        into.push(Import { name: name.to_owned(), path, is_public });
    }
}

/// A path from the crate's root. One without `crate`, `super` or `self` may lead to a module below this one; that of another crate leads
/// to none.
fn from_root(names: &[&str], module: &[String]) -> Option<ModulePath> {
    let owned = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<ModulePath>();
    match names {
        ["crate", rest @ ..] => Some(owned(rest)),
        ["self", rest @ ..] => Some([module, &owned(rest)].concat()),
        ["super", ..] => {
            let up = names.iter().take_while(|it| **it == "super").count();
            let kept = module.get(..module.len().checked_sub(up)?)?;
            Some([kept, &owned(&names[up..])].concat())
        }
        [] => None,
        rest => Some([module, &owned(rest)].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let module = |name: &str| name.split("::").filter(|it| !it.is_empty()).map(str::to_owned).collect();
        circles(&files.iter().map(|(name, text)| (module(name), (*text).to_owned())).collect())
    }

    #[test]
    fn files_that_lead_to_each_other_are_a_circle_whichever_way_the_paths_are_written() {
        let files = [
            ("", "mod a; mod b;"),
            ("a", "mod c; mod d; pub use c::C; struct A;"),
            ("a::c", "use super::d::{self, D}; pub struct C;"),
            ("a::d", "pub struct D; fn f() -> crate::a::C {}"),
            ("b", "use crate::a::C;"),
        ];
        assert_eq!(found(&files), [["a::c", "a::d"]]);
        let count = |allowed| check("x/src", &found(&files), allowed).unwrap_or_default();
        assert_eq!(count(2), "");
        assert!(count(1).ends_with("there may be 1: a::c a::d"), "{}", count(1));
        assert!(count(3).ends_with("write 2 into it"), "{}", count(3));
    }

    #[test]
    fn what_a_module_passes_on_and_what_tests_use_makes_no_circle() {
        let files = [
            ("", "mod a;"),
            ("a", "mod c; pub(crate) use c::C; pub struct A;"),
            ("a::c", "use super::A; pub struct C;"),
        ];
        assert_eq!(found(&files), [[""; 0]; 0]);
        let files = [
            ("", "mod a; mod b;"),
            ("a", "use crate::b::B;"),
            ("b", "#[cfg(test)] mod tests { use crate::a::A; }"),
        ];
        assert_eq!(found(&files), [[""; 0]; 0]);
        // A private use is one.
        assert_eq!(found(&[("", ""), ("a", "mod c; use c::C;"), ("a::c", "use super::A;")]), [["a", "a::c"]]);
    }
}
