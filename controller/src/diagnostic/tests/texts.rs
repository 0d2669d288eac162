//! The texts of values that are not valid: many for one reason, so that an example of the reason does not show all of them.

use std::path::Path;

/// Where they are written, from the folder of this crate.
const SOURCES: [&str; 9] = [
    "src/compile/policy/access/rules.rs",
    "src/compile/policy/limit/values.rs",
    "src/resources/client_policy/source.rs",
    "src/resources/core.rs",
    "src/resources/endpoint_slice.rs",
    "../crates/config/src/model/path.rs",
    "../crates/config/src/model/validity.rs",
    "../crates/policy/src/address.rs",
    "../crates/policy/src/matching/hostname.rs",
];

/// What only a proxy says: compiling has a text of its own, or makes nothing of the kind.
const OF_PROXIES: [&str; 2] =
    ["a listener has filters only for HTTP and HTTPS", "a filter of this type cannot stand at a listener"];

/// A text without the names, numbers and values in it.
pub(super) fn shape(text: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut is_quoted = false;
    for word in text.split_whitespace() {
        let quotes = word.matches('`').count();
        let is_value = is_quoted || quotes > 0 || word.contains(['/', '[', '{', '=']);
        is_quoted ^= quotes % 2 == 1;
        let is_value = is_value
            || word.contains(|it: char| it.is_ascii_digit())
            || word.contains('.') && !word.ends_with('.');
        match is_value {
            true if words.last() == Some(&"_") => {}
            true => words.push("_"),
            false => words.push(word),
        }
    }
    words.join(" ")
}

/// Each text of [`SOURCES`] is in the golden file, with something in the place of its `{…}`.
pub(super) fn assert_complete(golden: &str) {
    let mut missing = Vec::new();
    for source in SOURCES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let text = std::fs::read_to_string(&path).unwrap();
        for literal in sentences(&text).into_iter().filter(|it| !OF_PROXIES.contains(&it.as_str())) {
            if !golden.lines().any(|line| is_instance(line, &literal)) {
                missing.push(format!("{source}: {literal}"));
            }
        }
    }
    assert!(missing.is_empty(), "the corpus has no example of {missing:#?}");
}

/// The literals of a file of four words and more, outside comments and tests.
fn sentences(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|it| !it.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n").replace("\\\"", "'");
    let literals = code.split('"').skip(1).step_by(2);
    let joined = literals.map(|it| {
        let parts = it.split("\\\n").map(str::trim_start);
        parts.collect::<String>()
    });
    joined.filter(|it| it.split(' ').count() >= 4).collect()
}

/// Whether a line has the parts of a text between its `{…}`, in this order.
fn is_instance(line: &str, literal: &str) -> bool {
    let mut rest = line;
    for (index, part) in literal.split('{').enumerate() {
        let part = if index == 0 { part } else { part.split_once('}').map_or(part, |(_, after)| after) };
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[test]
fn a_text_is_found_with_values_in_its_places() {
    let code = "/// \"one of the docs here\"\nfn f() { err(\"`{a}` is not a \\\n     number, of {b}\") }";
    assert_eq!(sentences(code), ["`{a}` is not a number, of {b}"]);
    assert!(is_instance("  `7` is not a number, of x", "`{a}` is not a number, of {b}"));
    assert!(!is_instance("  `7` is not the number, of x", "`{a}` is not a number, of {b}"));
    assert_eq!(shape("HTTPRoute shop/r: `a b` has 3 faults"), shape("HTTPRoute bank/q: `c` has 4 faults"));
}
