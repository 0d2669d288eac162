//! The order of precedence between alternatives, as far as it does not depend on the request. See the notes of the module
//! above.

use super::compiled::Candidate;
use super::predicate::precedence;
use fairway_config::model::{PathMatch, ValueMatch};
use std::cmp::{Ordering, Reverse};

/// Orders alternatives of one hostname and one kind of route: what goes first is less.
pub(super) fn compare(a: &Candidate, b: &Candidate) -> Ordering {
    let (Some(match_a), Some(match_b)) = (a.matched(), b.matched()) else {
        return Ordering::Equal;
    };
    path_rank(&match_a.path)
        .cmp(&path_rank(&match_b.path))
        .then_with(|| precedence(match_a).cmp(&precedence(match_b)))
        .then_with(|| {
            let (route_a, route_b) = (a.route.route(), b.route.route());
            let age = route_a.created.cmp(&route_b.created);
            age.then_with(|| route_a.object.cmp(&route_b.object)).then_with(|| route_a.key.cmp(&route_b.key))
        })
        .then_with(|| (a.rule, a.alternative).cmp(&(b.rule, b.alternative)))
}

/// What is less is better.
fn path_rank(path: &PathMatch) -> [Rank; 2] {
    match path {
        PathMatch::Exact(text) => [rank(0, text), ABSENT],
        PathMatch::Regex(pattern) => [rank(1, pattern.as_str()), ABSENT],
        PathMatch::Prefix(text) => [rank(2, text), ABSENT],
        PathMatch::Grpc(it) => [value_rank(it.service.as_ref()), value_rank(it.method.as_ref())],
    }
}

type Rank = (u8, Reverse<usize>);

const ABSENT: Rank = (2, Reverse(0));

fn value_rank(value: Option<&ValueMatch>) -> Rank {
    match value {
        Some(ValueMatch::Exact(text)) => rank(0, text),
        Some(ValueMatch::Regex(pattern)) => rank(1, pattern.as_str()),
        None => ABSENT,
    }
}

fn rank(class: u8, text: &str) -> Rank {
    (class, Reverse(characters(text)))
}

fn characters(text: &str) -> usize {
    text.chars().count()
}
