//! Texts that are matched exactly or by a regular expression.

use super::draft::Finding;
use super::filter::{header_name, invalid};
use fairway_config::model::{HeaderMatch, Pattern, QueryMatch, ValueMatch};

/// How a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Exact,
    Regex,
}

/// Compiles one comparison.
pub(super) fn value(field: &str, how: Comparison, text: &str) -> Result<ValueMatch, Finding> {
    match how {
        Comparison::Exact => Ok(ValueMatch::Exact(text.into())),
        Comparison::Regex => regex(field, text).map(ValueMatch::Regex),
    }
}

/// Compiles a regular expression.
pub(super) fn regex(field: &str, text: &str) -> Result<Pattern, Finding> {
    Pattern::new(text)
        .map_err(|error| invalid(field, error, "write an expression in RE2 syntax, without look-around"))
}

/// Compiles header matches; of names that stand twice (however written) the first counts.
pub(super) fn headers<'a>(
    field: &str,
    written: impl Iterator<Item = (&'a str, Comparison, &'a str)>,
) -> Result<Vec<HeaderMatch>, Finding> {
    let mut matches: Vec<HeaderMatch> = Vec::new();
    for (index, (name, how, text)) in written.enumerate() {
        let name = header_name(&format!("{field}[{index}].name"), name)?;
        let value = value(&format!("{field}[{index}].value"), how, text)?;
        if !matches.iter().any(|it| it.name == name) {
            matches.push(HeaderMatch { name, value });
        }
    }
    Ok(matches)
}

/// Compiles query matches; of names that stand twice the first counts.
pub(super) fn query<'a>(
    field: &str,
    written: impl Iterator<Item = (&'a str, Comparison, &'a str)>,
) -> Result<Vec<QueryMatch>, Finding> {
    let mut matches: Vec<QueryMatch> = Vec::new();
    for (index, (name, how, text)) in written.enumerate() {
        let value = value(&format!("{field}[{index}].value"), how, text)?;
        if !matches.iter().any(|it| *it.name == *name) {
            matches.push(QueryMatch { name: name.into(), value });
        }
    }
    Ok(matches)
}
