//! From a file's text to its documents.

use serde_json::Value;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    /// The line its first word is on, from 1.
    pub line: usize,
    /// The content, as JSON values.
    pub value: Value,
}

/// A text that is not YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The line at which the parser gave up, from 1.
    pub line: usize,
    /// What the parser says.
    pub message: String,
}

/// Parses every document of a file (JSON is YAML). Empty documents are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Document>, SyntaxError> {
    let mut documents = Vec::new();
    for (start, text) in split(text) {
        let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        let Some(first) = text.lines().position(|line| !blank(line)) else { continue };
        let value: Value = serde_saphyr::from_str(text).map_err(|error| SyntaxError {
            line: start
                + error
                    .location()
                    .map_or(first, |it| usize::try_from(it.line()).unwrap_or(1).saturating_sub(1)),
            message: without_place(first_line(&error.without_snippet().to_string())),
        })?;
        if !value.is_null() {
            documents.push(Document { line: start + first, value });
        }
    }
    Ok(documents)
}

/// Cuts a file at its document markers, with the line each part starts on. A marker stands at the start of a line, and
/// nothing else may stand there that looks like one (YAML 1.2.2 §9.1.2).
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let bare = line.trim_end();
        if bare == "---" || bare.starts_with("--- ") {
            parts.push((start_line, &text[start..at]));
            // What stands behind the marker on its line is of the new document; almost always a comment or nothing.
            start = if bare == "---" { at + line.len() } else { at + 4 };
            start_line = if bare == "---" { index + 2 } else { index + 1 };
        }
        at += line.len();
    }
    parts.push((start_line, &text[start..]));
    parts
}

/// The parser counts lines from the document's first; ours count from the file's.
fn without_place(message: String) -> String {
    match message.rsplit_once(" at line ") {
        Some((said, place)) if place.contains("column") => said.to_owned(),
        _ => message,
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_know_their_lines() {
        let text = "# a comment\n\na: 1\n---\n---\n# nothing\n--- # more\nb: 2\nc: |\n  ---\n  text\n";
        let documents = parse(text).unwrap();
        let lines: Vec<usize> = documents.iter().map(|it| it.line).collect();
        assert_eq!(lines, [3, 8]);
        assert_eq!(documents[1].value["c"], "---\ntext\n");
    }

    #[test]
    fn a_mistake_knows_its_line() {
        let error = parse("a: 1\n---\nb: 1\nc: [1, 2\n").unwrap_err();
        assert!((4..=5).contains(&error.line), "{error:?}");
        assert!(!error.message.is_empty());
    }

    #[test]
    fn words_mean_what_they_mean_to_kubectl() {
        let value = &parse("a: no\nb: \"1\"\nc: 1\nd: true\ne: 1.5\nf: ~\ng: 0x10\n").unwrap()[0].value;
        // YAML 1.1: who means the word writes it in quotes, there as here.
        assert_eq!(value["a"], false);
        assert_eq!(value["b"], "1");
        assert_eq!(value["c"], 1);
        assert_eq!(value["d"], true);
        assert_eq!(value["f"], Value::Null);
    }

    #[test]
    fn json_is_read_too() {
        assert_eq!(parse("{\"a\": [1, {\"b\": null}]}\n").unwrap()[0].value["a"][0], 1);
    }
}
