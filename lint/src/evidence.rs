//! The tests that documents name. In any document what is written as code and is made like the name of a test (four words of a Rust
//! test, `TestX` of Go) is one that exists. In those that promise something, in a table whose last column is headed `test` or `held by`, each row names at least one, and each
//! that is named exists.
//!
//! In such a cell stand, as code: the path of a file or folder from the repository's root; the name of a Rust test; the name of a Go
//! test; the name of a fuzz target.

use crate::source::{files, words};
use std::collections::BTreeSet;
use std::path::Path;

/// The documents that promise something and name what holds it.
pub const DOCUMENTS: [&str; 2] = ["docs/threat-model.md", "docs/limits.md"];

/// Folders with documents, from the repository's root. Not the folders within them.
const PROSE: [&str; 3] = [".", "docs", "docs/decisions"];

/// A row of a table of evidence.
#[derive(Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The line of the document, counted from 1.
    pub line: usize,
    /// What stands as code in the last cell.
    pub named: Vec<&'a str>,
}

/// Complaints about rows of [`DOCUMENTS`] that name nothing, or what does not exist.
///
/// # Errors
/// A file or folder that cannot be read, or a document without a table of evidence.
pub fn check(root: &Path) -> Result<Vec<String>, String> {
    let mut known = BTreeSet::new();
    for path in files(root)? {
        known.extend(rust_tests(&read(&path)?));
    }
    for folder in ["conformance/behaviour", "charts/test"] {
        for path in listed(&root.join(folder))?.iter().filter(|path| path.ends_with("_test.go")) {
            known.extend(go_tests(&read(Path::new(path))?));
        }
    }
    for path in listed(&root.join("fuzz/fuzz_targets"))? {
        known.extend(Path::new(&path).file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    let mut complaints = Vec::new();
    for document in DOCUMENTS {
        let text = read(&root.join(document))?;
        let rows = rows(&text);
        if rows.is_empty() {
            return Err(format!("{document}: no table has a last column \"test\" or \"held by\""));
        }
        let exists = |name: &str| known.contains(name) || (name.contains('/') && root.join(name).exists());
        complaints.extend(judge(&rows, exists).into_iter().map(|it| format!("{document}:{it}")));
    }
    for folder in PROSE {
        for path in listed(&root.join(folder))?.iter().filter(|path| path.ends_with(".md")) {
            // What was has names that are not any more.
            if path.ends_with("CHANGELOG.md") {
                continue;
            }
            for (line, name) in named(&read(Path::new(path))?) {
                if !known.contains(&name) {
                    complaints.push(format!("{path}:{line}: \"{name}\" is no test and no fuzz target"));
                }
            }
        }
    }
    Ok(complaints)
}

/// What stands as code in a document and is made like the name of a test, with its line: `TestX`, or four words and more joined by `_`
/// that are not the name of a metric.
pub fn named(document: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, text) in document.lines().enumerate() {
        for name in text.split('`').skip(1).step_by(2) {
            let is_rust = name.split('_').count() >= 4
                && !name.starts_with("fairway_")
                && name.chars().all(|it| it == '_' || it.is_ascii_lowercase() || it.is_ascii_digit());
            let is_go = name.strip_prefix("Test").is_some_and(|it| {
                it.starts_with(|it: char| it.is_ascii_uppercase()) && it.chars().all(char::is_alphanumeric)
            });
            if is_rust || is_go {
                found.push((number + 1, name.to_owned()));
            }
        }
    }
    found
}

/// Complaints about rows, each with its line in front.
pub fn judge(rows: &[Row<'_>], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for Row { line, named } in rows {
        if named.is_empty() {
            complaints.push(format!("{line}: the row names no test"));
        }
        for name in named.iter().filter(|name| !exists(name)) {
            complaints.push(format!(
                "{line}: \"{name}\" is no test, fuzz target or path from the repository's root"
            ));
        }
    }
    complaints
}

/// The rows of all tables of evidence in a document.
pub fn rows(document: &str) -> Vec<Row<'_>> {
    let (mut found, mut inside, mut header) = (Vec::new(), false, true);
    for (number, text) in document.lines().enumerate() {
        let Some(cells) = text.trim().strip_prefix('|').and_then(|it| it.strip_suffix('|')) else {
            (inside, header) = (false, true);
            continue;
        };
        let last = cells.rsplit('|').next().unwrap_or_default().trim();
        if header {
            (inside, header) = (["test", "held by"].contains(&last), false);
        } else if inside && !last.starts_with("---") {
            found.push(Row { line: number + 1, named: last.split('`').skip(1).step_by(2).collect() });
        }
    }
    found
}

/// Names of functions with an attribute that ends in `test` (`#[test]`, `#[tokio::test(…)]`).
pub fn rust_tests(source: &str) -> Vec<String> {
    let (mut found, mut marked) = (Vec::new(), false);
    let words = words(source);
    for (at, word) in words.iter().enumerate() {
        let text = |back: usize| at.checked_sub(back).and_then(|at| words.get(at)).map_or("", |it| it.text);
        match word.text {
            "test" if text(1) == "[" || (text(1) == "::" && text(3) == "[") => marked = true,
            "fn" if marked => {
                found.extend(words.get(at + 1).map(|it| it.text.to_owned()));
                marked = false;
            }
            _ => {}
        }
    }
    found
}

/// Names of functions `TestX(t *testing.T)`.
pub fn go_tests(source: &str) -> Vec<String> {
    let named = source.lines().filter_map(|line| line.strip_prefix("func ")?.split_once("(t *testing.T)"));
    named.map(|(name, _)| name.to_owned()).filter(|name| name.starts_with("Test")).collect()
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn listed(folder: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path().to_string_lossy().into_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# Limits\n\n| state | test |\n|---|---|\n| `head` | `a_head_ends`, `TestHead` |\n| body | none |\n\n\
        | what | beyond |\n|---|---|\n| `streams` | `wait` |\n\n| claim | held by |\n|---|---|\n| x | `a/b.rs` |\n";

    #[test]
    fn only_the_last_column_of_a_table_of_evidence_names_tests() {
        let rows = rows(DOCUMENT);
        let named: Vec<_> = rows.iter().map(|row| (row.line, row.named.clone())).collect();
        assert_eq!(named, [(5, vec!["a_head_ends", "TestHead"]), (6, vec![]), (14, vec!["a/b.rs"])]);
    }

    #[test]
    fn names_of_tests_are_found_in_prose_and_metrics_and_fields_are_none() {
        let text = "Held by `a_head_that_ends`, `TestHead`.\n`fairway_a_b_total`, `until_head_seconds`, `Testing`, `a_b`\n";
        assert_eq!(named(text), [(1, "a_head_that_ends".to_owned()), (1, "TestHead".to_owned())]);
    }

    #[test]
    fn a_row_without_a_test_and_a_test_that_is_not_there_are_complaints() {
        let complaints = judge(&rows(DOCUMENT), |name| name != "TestHead");
        assert_eq!(complaints.len(), 2);
        assert!(complaints[0].starts_with("5: \"TestHead\""), "{complaints:?}");
        assert!(complaints[1].starts_with("6: the row names no test"), "{complaints:?}");
    }

    #[test]
    fn tests_are_known_by_their_attributes() {
        let source = "#[test]\nfn a() {}\nfn helper() {}\n#[tokio::test(start_paused = true)]\n#[ignore]\nasync fn b() {}\n\
            // #[test] fn c()\n#[cfg(test)]\nmod tests { fn d() {} }\nproptest! { #[test] fn e(x in 0..1) {} }";
        assert_eq!(rust_tests(source), ["a", "b", "e"]);
        assert_eq!(
            go_tests(
                "func TestA(t *testing.T) {\n}\nfunc TestMain(m *testing.M) {\nfunc help(t *testing.T) {"
            ),
            ["TestA"]
        );
    }
}
