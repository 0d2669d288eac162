//! Docstrings that say nothing.

use crate::source::files;
use std::cmp::Ordering;
use std::path::Path;

/// The most words of a docstring that counts as short.
const SHORT: usize = 3;

/// Places of docstrings of at most three words: `file:line: text`. A docstring is an unbroken run of `///` or `//!` lines.
///
/// # Errors
/// A file that cannot be read.
pub fn short(root: &Path) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for path in files(root)? {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let place = path.strip_prefix(root).unwrap_or(&path).display();
        found.extend(short_in(&text).into_iter().map(|(line, doc)| format!("{place}:{line}: {doc}")));
    }
    Ok(found)
}

/// A complaint if there are more short docstrings than there may be, or fewer: the table's number only ever falls.
pub fn check(found: usize, allowed: usize) -> Option<String> {
    match found.cmp(&allowed) {
        Ordering::Equal => None,
        Ordering::Greater => Some(format!(
            "{found} docstrings have three words or less; there may be {allowed}. Say units, what must hold, errors or the source, or make \
             the item private and drop the docstring. All of them: cargo run -q -p fairway-lint -- --docs"
        )),
        Ordering::Less => Some(format!(
            "{found} docstrings have three words or less, and the table allows {allowed}: write {found} into it"
        )),
    }
}

/// The short docstrings of one file, with the lines they begin at.
pub fn short_in(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut doc: Option<(usize, String)> = None;
    for (number, line) in source.lines().chain([""]).enumerate() {
        let line = line.trim();
        let text =
            line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).filter(|it| !it.starts_with('/'));
        match (text, &mut doc) {
            (Some(text), Some((_, whole))) => {
                whole.push(' ');
                whole.push_str(text.trim());
            }
            (Some(text), None) => doc = Some((number + 1, text.trim().to_owned())),
            (None, _) => {
                found.extend(doc.take().filter(|(_, text)| text.split_whitespace().count() <= SHORT))
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docstrings_of_up_to_three_words_are_short() {
        let source = "//! The proxy.\n\n/// The listener's port\n/// and address.\nfn a() {}\n    /// Creates one.\n//// no docstring\n/// Milliseconds since the start.\n";
        assert_eq!(short_in(source), [(1, "The proxy.".to_owned()), (6, "Creates one.".to_owned())]);
    }

    #[test]
    fn the_number_of_short_docstrings_is_the_tables_number() {
        assert_eq!(check(2, 2), None);
        assert!(
            check(3, 2)
                .is_some_and(|it| it.starts_with("3 docstrings have three words or less; there may be 2"))
        );
        assert!(check(1, 2).is_some_and(|it| it.ends_with("write 1 into it")));
    }
}
