//! Rust source as words: enough of the language to find paths, without a parser.

use std::path::{Path, PathBuf};

/// A word of source, or one sign of it; `::` is one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word<'a> {
    /// As it is written.
    pub text: &'a str,
    /// The line that it begins in, counted from 1.
    pub line: usize,
}

/// The words of a file: no comments, no literals.
pub fn words(source: &str) -> Vec<Word<'_>> {
    let bytes = source.as_bytes();
    let (mut words, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        let rest = &source[at..];
        let length = match bytes[at] {
            b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => block_comment(rest),
            b'"' => 1 + text_length(&rest[1..]),
            b'r' | b'b' | b'c' if literal_prefix(rest).is_some() => literal_prefix(rest).unwrap_or(1),
            b'\'' => quote(rest),
            byte if byte == b'_' || byte.is_ascii_alphanumeric() => {
                let length = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
                words.push(Word { text: &rest[..length], line });
                length
            }
            b':' if rest.starts_with("::") => {
                words.push(Word { text: "::", line });
                2
            }
            byte if byte.is_ascii_whitespace() || !byte.is_ascii() => 1,
            _ => {
                words.push(Word { text: &rest[..1], line });
                1
            }
        };
        line += bytes[at..at + length].iter().filter(|byte| **byte == b'\n').count();
        at += length;
        while !source.is_char_boundary(at) {
            at += 1;
        }
    }
    words
}

/// Comments nest in Rust.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let bytes = &rest.as_bytes()[at..];
        if bytes.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Up to and with the quote that ends a string.
fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a literal that begins with letters: `r"…"`, `br#"…"#`, `b"…"`, `b'…'`.
fn literal_prefix(rest: &str) -> Option<usize> {
    let letters = rest.find(|c: char| !matches!(c, 'r' | 'b' | 'c'))?;
    let raw = rest[..letters].contains('r');
    let hashes = rest[letters..].bytes().take_while(|byte| *byte == b'#').count();
    let body = letters + hashes;
    if letters > 2 || (hashes > 0 && !raw) {
        return None;
    }
    match rest.as_bytes().get(body)? {
        b'"' if raw => {
            let end = format!("\"{}", "#".repeat(hashes));
            Some(rest[body + 1..].find(&end).map_or(rest.len(), |at| body + 1 + at + end.len()))
        }
        b'"' => Some(body + 1 + text_length(&rest[body + 1..])),
        b'\'' if &rest[..letters] == "b" => Some(body + quote(&rest[body..])),
        _ => None,
    }
}

/// A character, or only the quote of a lifetime.
fn quote(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => 3 + rest[3..].find('\'').unwrap_or(rest.len() - 4),
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// Every `.rs` file below a folder, sorted; build output and fuzz corpora are not looked into.
///
/// # Errors
/// A folder that cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "target" && name != "corpus" && !name.starts_with('.') {
                found.extend(files(&path)?);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
