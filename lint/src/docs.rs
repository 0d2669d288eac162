//! Docstrings that say nothing.

use crate::source::files;
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
}
