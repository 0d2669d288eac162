//! Texts that are matched exactly or by a regular expression.
//!
//! A condition that cannot be carried out is a fault of its rule, and is left out: the match that remains covers more
//! requests than was written, never fewer, and they are answered, not passed on.

use super::draft::{Draft, Faults};
use crate::compile::gateway::external_auth::header_name;
use crate::diagnostic::{Diagnostic, Reason};
use fairway_config::model::{HeaderMatch, Pattern, QueryMatch, ValueMatch, normalised_path};

/// How a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Exact,
    Regex,
}

/// Compiles one comparison. The error is an expression that is not valid, or over a budget of the route.
pub(super) fn value(
    draft: &mut Draft<'_, '_>,
    field: &str,
    how: Comparison,
    text: &str,
) -> Result<ValueMatch, Diagnostic> {
    match how {
        Comparison::Exact => Ok(ValueMatch::Exact(text.into())),
        Comparison::Regex => regex(draft, field, text).map(ValueMatch::Regex),
    }
}

/// Takes in a regular expression, within the budgets of the route and its namespace.
pub(super) fn regex(draft: &mut Draft<'_, '_>, field: &str, text: &str) -> Result<Pattern, Diagnostic> {
    draft.spent.pattern(text).map_err(|error| error.under(field))
}

/// The longest path that every match of an expression begins with, as far as it is written in plain letters; what an
/// expression that cannot be carried out takes is under it. It has the form in which paths are compared: an author who writes
/// `%c3` means a path that has `%C3` there.
pub(super) fn plain_beginning(expression: &str) -> String {
    let text = expression.strip_prefix('^').unwrap_or(expression);
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/-_~%!&',;:=@".contains(it);
    let end = text.find(|it| !is_plain(it)).unwrap_or(text.len());
    let (plain, rest) = text.split_at(end);
    // What may be repeated or left out is not there for sure; of alternatives none is.
    let plain = match rest.starts_with(['?', '*', '+', '{']) {
        true => plain.get(..plain.len().saturating_sub(1)).unwrap_or_default(),
        false => plain,
    };
    if text.contains('|') || text.starts_with("(?") {
        return String::new();
    }
    // What begins an escape may be its beginning only.
    let whole = match plain.rfind('%') {
        Some(at) if plain.len() - at < 3 => plain.get(..at).unwrap_or_default(),
        _ => plain,
    };
    match normalised_path(whole) {
        Some(it) => it.into_owned(),
        None => whole.split('%').next().unwrap_or_default().to_owned(),
    }
}

/// Compiles header matches; of names that stand twice (however written) the first counts.
pub(super) fn headers<'a>(
    draft: &mut Draft<'_, '_>,
    faults: &mut Faults,
    field: &str,
    written: impl Iterator<Item = (&'a str, Comparison, &'a str)>,
) -> Vec<HeaderMatch> {
    let mut matches: Vec<HeaderMatch> = Vec::new();
    for (index, (name, how, text)) in written.enumerate() {
        let name = faults.take(header_name(&format!("{field}[{index}].name"), name));
        let value = faults.take(value(draft, &format!("{field}[{index}].value"), how, text));
        let Some((name, value)) = name.zip(value) else { continue };
        if !matches.iter().any(|it| it.name == name) {
            matches.push(HeaderMatch { name, value });
        }
    }
    matches
}

/// Compiles query matches; of names that stand twice the first counts.
pub(super) fn query<'a>(
    draft: &mut Draft<'_, '_>,
    faults: &mut Faults,
    field: &str,
    written: impl Iterator<Item = (&'a str, Comparison, &'a str)>,
) -> Vec<QueryMatch> {
    let mut matches: Vec<QueryMatch> = Vec::new();
    for (index, (name, how, text)) in written.enumerate() {
        if name.is_empty() {
            let (field, message) =
                (format!("{field}[{index}].name"), "the name of the query parameter is empty");
            faults.add(Diagnostic::error(Reason::QueryNameEmpty, field, message, "write the name"));
            continue;
        }
        let Some(value) = faults.take(value(draft, &format!("{field}[{index}].value"), how, text)) else {
            continue;
        };
        if !matches.iter().any(|it| *it.name == *name) {
            matches.push(QueryMatch { name: name.into(), value });
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_beginning_of_an_expression_is_in_every_match() {
        for (expression, plain) in [
            ("/admin/(?!x).*", "/admin/"),
            ("^/admin/[", "/admin/"),
            ("/admin", "/admin"),
            ("/admins?/x", "/admin"),
            ("/a+", "/"),
            ("/v1.0/x", "/v1"),
            ("/a\\/b", "/a"),
            ("/a|/b(", ""),
            ("(?i)/admin(", ""),
            (".*(?<!x)", ""),
            // Requests are compared with what is unreserved decoded, and with what is not in upper case.
            ("/caf%c3%a9/(?!x).*", "/caf%C3%A9/"),
            ("/%61dmin/(?!x).*", "/admin/"),
            ("/a%2fb/(?!x).*", "/a%2Fb/"),
            ("/a%C3[", "/a%C3"),
            ("/a%c[3]", "/a"),
            ("/a%[C]3", "/a"),
            ("/a%c3?[", "/a"),
            ("/a%zz/(?!x)", "/a"),
            ("/a/%2e%2e/(?!x)", "/a/"),
            ("/%2ehidden/(?!x)", "/.hidden/"),
            ("?", ""),
            ("", ""),
        ] {
            assert_eq!(plain_beginning(expression), plain, "{expression}");
        }
    }
}
