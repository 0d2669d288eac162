//! The file that says what is allowed.

use std::collections::{BTreeMap, BTreeSet};

/// Everything that `lint/structure.txt` allows.
#[derive(Debug, Default)]
pub struct Table {
    /// Of each crate, by its short name, the crates of this workspace that it may depend on.
    pub crates: BTreeMap<String, Allowed>,
    /// The crates whose top modules are checked too.
    pub modules: Vec<Modules>,
    /// Of each folder with a crate, how many files its largest circle has: files that depend on each other. 0 is none.
    pub circles: BTreeMap<String, usize>,
    /// The number of docstrings with three words or less that there may be.
    pub short_docs: usize,
}

/// What one crate or module may use, and the line of the table that says so.
#[derive(Debug, Default, Clone)]
pub struct Allowed {
    /// The names behind the colon.
    pub names: BTreeSet<String>,
    /// The names behind the bar: uses against the direction that are there still. With the others they make cycles, so the search for
    /// one leaves them out.
    pub debt: BTreeSet<String>,
    /// The line of the table, counted from 1.
    pub line: usize,
}

impl Allowed {
    /// Whether the table has this use, as it should be or as debt.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name) || self.debt.contains(name)
    }
}

/// The rules for the top modules of one crate.
#[derive(Debug, Default)]
pub struct Modules {
    /// The folder of its `lib.rs`, from the repository's root.
    pub folder: String,
    /// Of each top module, the others that it may use.
    pub allowed: BTreeMap<String, Allowed>,
}

impl Table {
    /// Reads sections (`crates`, `modules FOLDER`) of lines `name: names… | debt…`, and lines `circle FOLDER NUMBER` and `short-docs NUMBER`. `#` begins a comment.
    ///
    /// # Errors
    /// A message with the number of the line that is not understood, or that allows a cycle.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut table = Self::default();
        let mut in_crates = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let at = number + 1;
            if let Some((name, names)) = line.split_once(':') {
                let (names, debt) = names.split_once('|').unwrap_or((names, ""));
                let list = |names: &str| names.split_whitespace().map(str::to_owned).collect();
                let allowed = Allowed { names: list(names), debt: list(debt), line: at };
                let section = match table.modules.last_mut() {
                    Some(modules) if !in_crates => &mut modules.allowed,
                    _ if in_crates => &mut table.crates,
                    _ => return Err(format!("line {at}: no section has begun")),
                };
                if section.insert(name.trim().to_owned(), allowed).is_some() {
                    return Err(format!("line {at}: {} has a line already", name.trim()));
                }
                continue;
            }
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [] => {}
                ["crates"] => in_crates = true,
                ["modules", folder] => {
                    in_crates = false;
                    table.modules.push(Modules { folder: folder.to_owned(), allowed: BTreeMap::new() });
                }
                ["circle", folder, count] => {
                    let count = count.parse().map_err(|error| format!("line {at}: {count}: {error}"))?;
                    table.circles.insert(folder.to_owned(), count);
                }
                ["short-docs", count] => {
                    table.short_docs =
                        count.parse().map_err(|error| format!("line {at}: {count}: {error}"))?;
                }
                _ => return Err(format!("line {at}: neither a section nor `name: names`: {line}")),
            }
        }
        for allowed in table.modules.iter().map(|modules| &modules.allowed).chain([&table.crates]) {
            if let Some(cycle) = cycle(allowed) {
                return Err(format!("the table allows a cycle: {}", cycle.join(" → ")));
            }
        }
        Ok(table)
    }
}

/// The names of a cycle, if the allowed uses have one.
fn cycle(allowed: &BTreeMap<String, Allowed>) -> Option<Vec<String>> {
    fn visit<'a>(
        name: &'a str,
        allowed: &'a BTreeMap<String, Allowed>,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(from) = path.iter().position(|it| *it == name) {
            return Some(path[from..].iter().chain([&name]).map(|it| (*it).to_owned()).collect());
        }
        if done.contains(name) {
            return None;
        }
        path.push(name);
        for next in allowed.get(name).into_iter().flat_map(|it| &it.names) {
            if let Some(found) = visit(next, allowed, path, done) {
                return Some(found);
            }
        }
        path.pop();
        done.insert(name);
        None
    }
    let mut done = BTreeSet::new();
    allowed.keys().find_map(|name| visit(name, allowed, &mut Vec::new(), &mut done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_who_may_use_whom() {
        let table = Table::parse("crates\n  cli: waypoint config # no more\nmodules waypoint/src\n  serve: route | listen\nshort-docs 7\n").unwrap();
        assert!(table.crates["cli"].contains("config"));
        assert_eq!((table.crates["cli"].line, table.short_docs), (2, 7));
        let serve = &table.modules[0].allowed["serve"];
        assert!(serve.contains("route") && serve.contains("listen") && !serve.contains("body"));
    }

    #[test]
    fn a_cycle_is_refused_unless_it_is_named_as_debt() {
        let refused = Table::parse("crates\na: b\nb: c\nc: a\n").unwrap_err();
        assert!(refused.ends_with("a → b → c → a"), "{refused}");
        Table::parse("crates\na: b\nb: c\nc: | a\n").unwrap();
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, wanted) in [
            ("a: b\n", "line 1"),
            ("crates\nnonsense\n", "line 2"),
            ("crates\na:\na: b\n", "line 3"),
            ("short-docs many\n", "line 1"),
        ] {
            let error = Table::parse(text).unwrap_err();
            assert!(error.starts_with(wanted), "{text:?}: {error}");
        }
    }
}
