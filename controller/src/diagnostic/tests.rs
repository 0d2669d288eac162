//! Every message that the controller can give, in one file for a reader: `snapshots/…golden.snap`.

mod corpus;
pub(super) mod recorder;
mod texts;

use super::{Diagnostic, Reason};
use crate::status::condition;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The files of this crate that are no tests.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && name != "tests" && name != "snapshots" {
                walk(&path, found);
            } else if name.ends_with(".rs") && !["tests.rs", "testing.rs", "reason.rs"].contains(&&*name) {
                let text = std::fs::read_to_string(&path).unwrap();
                // What follows is of the tests in the file; everything above keeps its line.
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// A message is written at one place, so that one example of a reason shows every text that it can have.
#[test]
fn a_reason_is_used_at_one_place() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            for (at, _) in line.match_indices("Reason::") {
                let before = line[..at].trim_end();
                if before.ends_with("==") || before.ends_with("!=") || line.trim_start().starts_with("//") {
                    continue;
                }
                let name = line[at + "Reason::".len()..].chars().take_while(char::is_ascii_alphanumeric);
                let place = format!("{}:{}", path.display(), number + 1);
                places.entry(name.collect()).or_default().push(place);
            }
        }
    }
    for reason in Reason::ALL {
        let places = places.remove(reason.as_str()).unwrap_or_default();
        assert_eq!(places.len(), 1, "{reason} is used at {places:?}: give each message a reason of its own");
    }
}

/// A review of this file as prose for a stranger is a part of each change of a message.
#[test]
fn every_message_is_in_the_golden_file() {
    condition::recorder::start();
    recorder::start();
    let corpus = corpus::run();
    let (places, made) = (condition::recorder::stop(), recorder::stop());

    let mut by_reason = BTreeMap::<Reason, BTreeSet<Diagnostic>>::new();
    let quoted = made.into_iter().filter(|it| IN_CONDITIONS.contains(&it.reason));
    for diagnostic in corpus.diagnostics.into_iter().chain(quoted).chain([crate::compile::example_of_fault()])
    {
        by_reason.entry(diagnostic.reason).or_default().insert(diagnostic);
    }
    let is_missing = |reason: &&Reason| !by_reason.contains_key(*reason) && !OF_LAST_GOOD.contains(reason);
    let missing: Vec<&Reason> = Reason::ALL.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "the corpus has no example of {missing:?}");
    for reason in IN_CONDITIONS {
        let (reason, shown) = (format!("({})", reason.condition()), &corpus.conditions);
        assert!(shown.iter().any(|line| line.contains(&reason)), "no condition has {reason}");
    }
    let unseen = unseen_conditions(&places);
    assert!(unseen.is_empty(), "the corpus has no example of the conditions made at {unseen:#?}");

    let mut golden = String::from("# Diagnostics: each reason, the reason of its condition, an example.\n");
    for reason in Reason::ALL {
        golden.push_str(&format!("\n## {reason} ({})\n", reason.condition()));
        let mut shapes = BTreeSet::new();
        for diagnostic in by_reason.get(reason).into_iter().flatten() {
            if !shapes.insert(texts::shape(&diagnostic.text())) || shapes.len() > EXAMPLES {
                continue;
            }
            golden.push_str(&format!("{}: {}\n", diagnostic.severity, place(diagnostic)));
            golden.push_str(&format!("  {}\n", diagnostic.message));
            if !diagnostic.remedy.is_empty() {
                golden.push_str(&format!("  remedy: {}\n", diagnostic.remedy));
            }
        }
    }
    golden.push_str("\n# Conditions that are not the text of one diagnostic.\n\n");
    // Those that say what a diagnostic says, and no more.
    let texts: BTreeSet<String> = by_reason.values().flatten().map(Diagnostic::text).collect();
    let is_of_diagnostic =
        |line: &&String| line.split_once("): ").is_some_and(|(_, message)| texts.contains(message));
    let conditions: Vec<&String> = corpus.conditions.iter().filter(|line| !is_of_diagnostic(line)).collect();
    conditions.iter().for_each(|line| golden.push_str(&format!("{line}\n")));
    golden.push_str("\n# Events, and conditions that the writer of statuses changes.\n\n");
    corpus.other.iter().for_each(|line| golden.push_str(&format!("{line}\n")));
    texts::assert_complete(&golden);
    insta::assert_snapshot!("golden", golden);
}

/// Reasons of diagnostics that put together others, which are reported by themselves.
const IN_CONDITIONS: [Reason; 5] = [
    Reason::GatewayUnreadable,
    Reason::ClientAuthoritiesMissing,
    Reason::PolicyAuthoritiesMissing,
    Reason::PolicyUnreadable,
    Reason::RouteUnreadable,
];

/// Reasons that a route or policy has only where no version of it could ever be read. They quote what the source reports.
const OF_LAST_GOOD: [Reason; 2] = [Reason::RouteUnreadable, Reason::PolicyUnreadable];

/// How many examples of a reason are shown: one for each text that differs from the others in more than names and numbers.
const EXAMPLES: usize = 24;

fn place(diagnostic: &Diagnostic) -> String {
    let location = diagnostic.location.as_ref().map(ToString::to_string);
    let object = diagnostic.object.as_ref().map(ToString::to_string);
    let field = Some(diagnostic.field.clone()).filter(|field| !field.is_empty());
    [location, object, field].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The places in the source where conditions are made and the corpus does not come by.
fn unseen_conditions(seen: &BTreeSet<(String, u32)>) -> Vec<String> {
    let mut unseen = Vec::new();
    for (path, text) in sources() {
        if path.ends_with("status/condition.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let makes = ["Condition::holds(", "Condition::fails("].iter().any(|it| line.contains(it));
            let number = u32::try_from(number + 1).unwrap();
            let is_seen = |(file, at): &(String, u32)| {
                *at == number && path.ends_with(file.trim_start_matches("controller/"))
            };
            if makes && !seen.iter().any(is_seen) {
                unseen.push(format!("{}:{number}", path.display()));
            }
        }
    }
    unseen
}
