//! Which top module of a crate uses which.

use crate::source::{Word, files, words};
use crate::table::Modules;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One use of a top module by another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The top module that the file belongs to.
    pub from: String,
    /// The top module that the path leads to.
    pub to: String,
    /// The file, from the repository's root.
    pub file: String,
    /// The line of the path, counted from 1.
    pub line: usize,
}

/// Every path between top modules of the crate in `folder`: `crate::…` and `super::…`, in `use` and elsewhere. Code of tests, `lib.rs` and
/// `main.rs` are left out; a name that `lib.rs` re-exports counts as its module.
///
/// # Errors
/// A file that cannot be read.
pub fn edges(root: &Path, folder: &str) -> Result<Vec<Edge>, String> {
    let base = root.join(folder);
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let root_text = read(&base.join("lib.rs"))?;
    let names = exports(&words(&root_text));
    let mut tests = BTreeSet::new();
    let mut sources = Vec::new();
    for path in files(&base)? {
        let text = read(&path)?;
        let mut module: Vec<String> = path
            .strip_prefix(&base)
            .unwrap_or(&path)
            .with_extension("")
            .iter()
            .map(|it| it.to_string_lossy().into_owned())
            .collect();
        if module.last().is_some_and(|it| it == "mod") {
            module.pop();
        }
        if module == ["lib"] {
            module.clear();
        }
        tests.extend(test_modules(&words(&text)).into_iter().map(|name| [&module[..], &[name]].concat()));
        sources.push((path, module, text));
    }
    let mut found = Vec::new();
    for (path, module, text) in &sources {
        let of_a_test = (1..=module.len()).any(|depth| tests.contains(&module[..depth]));
        let Some(from) = module.first().filter(|it| *it != "main" && *it != "bin").filter(|_| !of_a_test)
        else {
            continue;
        };
        let file = path.strip_prefix(root).unwrap_or(path).display().to_string();
        for (line, first) in targets(&without_tests(&words(text)), module) {
            let to = names.get(first).map_or(first, String::as_str);
            if to != from && names.values().any(|it| it == to) {
                found.push(Edge { from: from.clone(), to: to.to_owned(), file: file.clone(), line });
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The top modules of the crate in `folder`, as its `lib.rs` declares them.
///
/// # Errors
/// A `lib.rs` that cannot be read.
pub fn declared(root: &Path, folder: &str) -> Result<BTreeSet<String>, String> {
    let path = root.join(folder).join("lib.rs");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(exports(&words(&text)).into_values().collect())
}

/// Complaints about edges that the table does not allow, and about what the table has that is not there any more: debt that is paid, and
/// modules.
pub fn check(rules: &Modules, modules: &BTreeSet<String>, edges: &[Edge]) -> Vec<String> {
    let mut complaints = not_allowed(rules, edges);
    complaints.extend(paid(rules, edges));
    for (name, allowed) in rules.allowed.iter().filter(|(name, _)| !modules.contains(*name)) {
        complaints.push(format!(
            "{}: there is no module {name}: take out the table's line {}",
            rules.folder, allowed.line
        ));
    }
    complaints
}

fn not_allowed(rules: &Modules, edges: &[Edge]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut unknown = BTreeSet::new();
    for edge in edges {
        match rules.allowed.get(&edge.from) {
            Some(allowed) if allowed.contains(&edge.to) => {}
            Some(allowed) => complaints.push(format!(
                "{}:{}: {} must not use {} (the table's line {})",
                edge.file, edge.line, edge.from, edge.to, allowed.line
            )),
            None if unknown.insert(&edge.from) => {
                complaints.push(format!(
                    "{}:{}: the module {} has no line in the table",
                    edge.file, edge.line, edge.from
                ));
            }
            None => {}
        }
    }
    complaints
}

/// Debt of the table that is paid: uses that are not there any more. If it stayed in the table, the next use would pass.
fn paid(rules: &Modules, edges: &[Edge]) -> Vec<String> {
    let is = |from: &str, to: &str| edges.iter().any(|edge| edge.from == from && edge.to == to);
    let mut paid = Vec::new();
    for (from, allowed) in &rules.allowed {
        for to in allowed.debt.iter().filter(|to| !is(from, to)) {
            paid.push(format!(
                "{}: {from} does not use {to} any more: take it out of the table's line {}",
                rules.folder, allowed.line
            ));
        }
    }
    paid
}

/// The edges in the form of the table: its lines stay in their order, modules that it does not have come last, and a use of a line further
/// down is debt.
pub fn describe(rules: &Modules, edges: &[Edge]) -> String {
    let mut order: Vec<(usize, &str)> =
        rules.allowed.iter().map(|(name, allowed)| (allowed.line, name.as_str())).collect();
    order.sort_unstable();
    for name in edges.iter().flat_map(|edge| [&edge.from, &edge.to]) {
        if !rules.allowed.contains_key(name) && !order.iter().any(|(_, known)| known == name) {
            order.push((usize::MAX, name));
        }
    }
    let mut text = format!("modules {}\n", rules.folder);
    for (at, (_, name)) in order.iter().enumerate() {
        let uses = |others: &[(usize, &str)]| {
            let used =
                others.iter().filter(|(_, to)| edges.iter().any(|it| it.from == *name && it.to == *to));
            used.fold(String::new(), |list, (_, to)| format!("{list} {to}"))
        };
        let (below, above) = (uses(&order[..at]), uses(&order[at + 1..]));
        let bar = if above.is_empty() { "" } else { " |" };
        text += &format!("  {name}:{below}{bar}{above}\n");
    }
    text
}

/// The top modules by their names, and by the names that `lib.rs` re-exports from them.
fn exports(words: &[Word<'_>]) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for (at, word) in words.iter().enumerate() {
        let Some(name) = words.get(at + 1) else { break };
        if word.text == "mod" {
            names.insert(name.text.to_owned(), name.text.to_owned());
        }
        if word.text == "use" {
            let end = words[at..].iter().position(|it| it.text == ";").map_or(words.len(), |it| at + it);
            let path = if name.text == "crate" || name.text == "self" { at + 3 } else { at + 1 };
            let Some(module) = words.get(path) else { break };
            for exported in words
                .get(path + 1..end)
                .unwrap_or_default()
                .iter()
                .filter(|it| it.text.starts_with(|c: char| c.is_alphanumeric()))
            {
                names.insert(exported.text.to_owned(), module.text.to_owned());
            }
        }
    }
    // A re-export of another crate's is nobody's here.
    let modules: BTreeSet<_> =
        names.iter().filter(|(name, module)| name == module).map(|(name, _)| name.clone()).collect();
    names.retain(|_, module| modules.contains(module));
    names
}

/// The names of modules in other files that are compiled for tests only.
pub(crate) fn test_modules(words: &[Word<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for at in 0..words.len() {
        if let Some(after) = test_attribute(words, at)
            && let [module, name, end] =
                words.get(skip_visibility(words, after)..).and_then(|it| it.get(..3)).unwrap_or_default()
            && module.text == "mod"
            && end.text == ";"
        {
            found.push(name.text.to_owned());
        }
    }
    found
}

/// The words of a file without what `#[cfg(test)]` stands before: a block, or up to a semicolon.
pub(crate) fn without_tests<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < words.len() {
        let Some(mut end) = test_attribute(words, at) else {
            kept.push(words[at].clone());
            at += 1;
            continue;
        };
        let mut depth = 0;
        while let Some(word) = words.get(end) {
            end += 1;
            match word.text {
                "{" => depth += 1,
                "}" if depth == 1 => break,
                "}" => depth -= 1,
                ";" if depth == 0 => break,
                _ => {}
            }
        }
        at = end;
    }
    kept
}

/// Where what stands behind `#[cfg(test)]` (or `#[cfg(any(test, …))]`) begins, if that is what begins here.
fn test_attribute(words: &[Word<'_>], at: usize) -> Option<usize> {
    let texts = |count: usize| {
        words.get(at..at + count).map(|it| it.iter().map(|word| word.text).collect::<Vec<_>>())
    };
    let plain = texts(5).is_some_and(|it| it == ["#", "[", "cfg", "(", "test"]);
    let any = texts(7).is_some_and(|it| it == ["#", "[", "cfg", "(", "any", "(", "test"]);
    if !plain && !any {
        return None;
    }
    words[at..].iter().position(|it| it.text == "]").map(|it| at + it + 1)
}

fn skip_visibility(words: &[Word<'_>], at: usize) -> usize {
    match words.get(at).map(|it| it.text) {
        Some("pub") if words.get(at + 1).is_some_and(|it| it.text == "(") => {
            words[at..].iter().position(|it| it.text == ")").map_or(at, |it| at + it + 1)
        }
        Some("pub") => at + 1,
        _ => at,
    }
}

/// The first names below the crate's root of all paths in a file, with their lines.
fn targets<'a>(words: &[Word<'a>], module: &[String]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |it| words[it].text);
        if before == "::" || before == "in" || before == "$" {
            continue;
        }
        let mut next = at;
        match word.text {
            "crate" => next += 1,
            "super" => {
                let mut depth = 0;
                while words.get(next).is_some_and(|it| it.text == "super") {
                    depth += 1;
                    next += if words.get(next + 2).is_some_and(|it| it.text == "super") { 2 } else { 1 };
                }
                // Only what reaches the root can lead to another top module.
                if depth != module.len() {
                    continue;
                }
            }
            _ => continue,
        }
        if words.get(next).is_some_and(|it| it.text == "::") {
            found.extend(first_names(&words[next + 1..]));
        }
    }
    found
}

/// The name behind `crate::`, or the first name of every member of a group there.
fn first_names<'a>(words: &[Word<'a>]) -> Vec<(usize, &'a str)> {
    let Some(first) = words.first() else { return Vec::new() };
    if first.text != "{" {
        return vec![(first.line, first.text)];
    }
    let (mut found, mut depth, mut begins) = (Vec::new(), 0, true);
    for word in words {
        match word.text {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," if depth == 1 => begins = true,
            name if depth == 1 && begins => {
                found.push((word.line, name));
                begins = false;
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "mod a; pub mod b; mod settings; #[cfg(test)] mod fixtures; pub use settings::{Limits, Settings}; pub use other::Thing;";

    /// The edges that one file of the module `a` has.
    fn uses(source: &str) -> Vec<(usize, String)> {
        let names = exports(&words(LIB));
        targets(&without_tests(&words(source)), &["a".to_owned(), "deep".to_owned()])
            .into_iter()
            .filter_map(|(line, name)| Some((line, names.get(name)?.clone())))
            .filter(|(_, name)| name != "a")
            .collect()
    }

    #[test]
    fn a_path_to_another_module_is_found_wherever_it_is_written() {
        for (source, wanted) in [
            ("use crate::b::X;", Some("b")),
            ("use crate::{a::Y, b};", Some("b")),
            ("use crate::{a::{Y, Z}, b::{self, X}};", Some("b")),
            ("fn f(it: &crate::b::X) {}", Some("b")),
            ("use super::super::b;", Some("b")),
            ("use crate::Limits;", Some("settings")),
            ("pub(crate) fn f() {}", None),
            ("use super::b;", None),
            ("use crate::a::b::X;", None),
            ("use crate::Thing;", None),
            ("pub(in crate::b) fn f() {}", None),
            (
                "// crate::b\n/* crate::b /* crate::b */ crate::b */ fn f() { g(\"crate::b\", r#\"crate::b\"#, '\"') }",
                None,
            ),
            ("#[cfg(test)] mod tests { use crate::b; fn f() { {} } }", None),
            ("#[cfg(test)] use crate::b;", None),
        ] {
            let found = uses(source);
            assert_eq!(found.first().map(|(_, name)| name.as_str()), wanted, "{source}: {found:?}");
        }
    }

    #[test]
    fn code_after_tests_and_lifetimes_is_read() {
        let found = uses("#[cfg(test)]\nmod tests { fn f() {} }\nfn g<'a>(it: &'a u8) {}\nuse crate::b;\n");
        assert_eq!(found, [(4, "b".to_owned())]);
    }

    #[test]
    fn modules_of_tests_are_known() {
        assert_eq!(test_modules(&words(LIB)), ["fixtures"]);
        assert_eq!(
            test_modules(&words("#[cfg(any(test, feature = \"testing\"))] pub(crate) mod collect;")),
            ["collect"]
        );
    }

    #[test]
    fn a_complaint_names_file_line_and_rule() {
        let table = crate::table::Table::parse("modules x/src\n  a: settings | c\n").unwrap();
        let rules = &table.modules[0];
        let edge = |to: &str| Edge { from: "a".into(), to: to.into(), file: "x/src/a.rs".into(), line: 3 };
        let modules = BTreeSet::from(["a".to_owned()]);
        assert_eq!(check(rules, &modules, &[edge("settings"), edge("c")]), [""; 0]);
        assert_eq!(
            check(rules, &modules, &[edge("b"), edge("c")]),
            ["x/src/a.rs:3: a must not use b (the table's line 2)"]
        );
    }

    #[test]
    fn what_the_table_has_and_the_code_does_not_is_a_complaint() {
        let table = crate::table::Table::parse("modules x/src\n  a: | c\n  b:\n").unwrap();
        let rules = &table.modules[0];
        let modules = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
        let used = [Edge { from: "a".into(), to: "c".into(), file: "x/src/a.rs".into(), line: 3 }];
        assert_eq!(check(rules, &modules(&["a", "b", "c"]), &used), [""; 0]);
        assert_eq!(
            check(rules, &modules(&["a", "b", "c"]), &[]),
            ["x/src: a does not use c any more: take it out of the table's line 2"]
        );
        assert_eq!(
            check(rules, &modules(&["a", "c"]), &used),
            ["x/src: there is no module b: take out the table's line 3"]
        );
    }
}
