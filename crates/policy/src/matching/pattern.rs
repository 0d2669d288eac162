//! Regular expressions of users.
//!
//! An expression is parsed where it comes in, and what it would take to carry it out is estimated: that is enough to refuse
//! it. Its program is built when the first text is compared with it, and only in a proxy (see `program`).

use super::program::Slot;
use super::work::Work;
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Class, Hir, HirKind};
use regex_syntax::utf8::Utf8Sequences;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

/// A regular expression that has to match a whole text. Linear in the text (RE2 syntax), bounded in memory.
///
/// Routes tend to say the same in the same words: equal expressions that a thread parses share what comes of it.
#[derive(Clone)]
pub struct Pattern(Arc<Expression>);

/// An expression that was parsed and whose cost is known.
#[derive(Debug)]
pub(super) struct Expression {
    source: Box<str>,
    /// What every text that matches begins with. Many expressions stand under one host, and most of them differ here:
    /// looking at this first is a hundred times faster than to ask each, and those never asked are never built.
    prefix: Box<[u8]>,
    cost: u64,
    /// States of its program that can be at work at one byte of a text.
    pub(super) states: u64,
    pub(super) slot: Slot,
}

/// What a thread has parsed and somebody still holds.
#[derive(Default)]
struct Known {
    patterns: HashMap<Box<str>, Weak<Expression>>,
    /// Size after which those are looked for that nobody holds.
    sweep_at: usize,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// A text that is not a regular expression we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a usable regular expression (RE2 syntax): {reason}")]
pub struct InvalidPattern {
    /// The beginning of what was given, enough to find it by.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
    /// What it was found to cost before it was refused; its author is charged that.
    pub cost: u64,
}

/// What an expression costs beside its program, in bytes.
const EACH: u64 = 1024;
/// And each class of characters in it: the tables of a class are merged when it is parsed.
const CLASS: u64 = 2048;
/// As much of a refused expression is repeated.
const SHOWN: usize = 100;
/// What one comparison may take: the cost of the expression times the bytes of the text. At worst a program visits each of its states
/// at each byte, which is two tenths of a second at this limit.
const WORK: u64 = 1 << 29;
/// Classes in one expression.
const MOST_CLASSES: u64 = 128;

// === impl Pattern ===

impl Pattern {
    /// What one pattern may cost, as [`Self::cost`] has it.
    pub const COST_LIMIT: u64 = 1024 * 1024;

    /// Takes an expression in, to be compared with whole texts.
    pub fn new(source: &str) -> Result<Self, InvalidPattern> {
        if let Some(held) = KNOWN.with_borrow(|known| known.patterns.get(source)?.upgrade()) {
            return Ok(Self(held));
        }
        let invalid = |reason: String, cost| {
            // Enough to find it by.
            let mut pattern: String = source.chars().take(SHOWN).collect();
            if pattern.len() < source.len() {
                pattern.push('…');
            }
            InvalidPattern { pattern, reason, cost }
        };
        let classes = classes(source);
        let parsing = EACH + CLASS * classes;
        if classes > MOST_CLASSES {
            let reason = format!("it has {classes} classes of characters, and {MOST_CLASSES} are taken");
            return Err(invalid(reason, parsing));
        }
        // Alone: a group around it would make `a)(b` valid.
        let parsed = parse(source).map_err(|error| invalid(error, parsing))?;
        let cost = parsing.saturating_add(size(&parsed));
        if cost > Self::COST_LIMIT {
            let reason = format!(
                "its program would take about {} KiB, and {} KiB are taken: make repetitions shorter",
                cost / 1024,
                Self::COST_LIMIT / 1024
            );
            return Err(invalid(reason, cost));
        }
        let (source, prefix, states) = (source.into(), prefix_of(&parsed), states(&parsed));
        let expression = Arc::new(Expression { source, prefix, cost, states, slot: Slot::default() });
        KNOWN.with_borrow_mut(|known| known.insert(&expression));
        Ok(Self(expression))
    }

    /// Whether a text of this length is compared. Nobody can say of a longer one whether it matches: who asks refuses it.
    pub fn takes(&self, length: usize) -> bool {
        u64::try_from(length).is_ok_and(|length| length.saturating_mul(self.0.cost) <= WORK)
    }

    /// Whether the whole text matches. The first text that could builds the program. Ask [`Self::takes`] before, if the text is a
    /// client's.
    pub fn is_match(&self, text: &str) -> bool {
        text.as_bytes().starts_with(&self.0.prefix) && Slot::is_match(&self.0, text)
    }

    /// Whether the whole text of a client matches, within what its request may still take. None if nobody can say: the text is too long
    /// for this expression, or for all that its request was compared with. What begins otherwise than every match costs nothing.
    pub fn compare(&self, text: &str, work: &Work) -> Option<bool> {
        if !text.as_bytes().starts_with(&self.0.prefix) {
            return Some(false);
        }
        if !self.takes(text.len()) {
            return None;
        }
        Slot::compare(&self.0, text, work)
    }

    /// An estimate of the memory that carrying it out takes, in bytes; known without building anything, and the same in
    /// every program. Budgets are made of it.
    pub fn cost(&self) -> u64 {
        self.0.cost
    }

    /// The expression as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0.source
    }

    #[cfg(test)]
    pub(super) fn expression(&self) -> &Arc<Expression> {
        &self.0
    }
}

impl Expression {
    /// The expression with both its ends held.
    pub(super) fn whole(&self) -> Result<Hir, String> {
        let look = |it| Hir::look(it);
        let (start, end) = (regex_syntax::hir::Look::Start, regex_syntax::hir::Look::End);
        Ok(Hir::concat(vec![look(start), parse(&self.source)?, look(end)]))
    }
}

fn parse(source: &str) -> Result<Hir, String> {
    regex_syntax::parse(source).map_err(|error| match error {
        regex_syntax::Error::Parse(it) => it.kind().to_string(),
        regex_syntax::Error::Translate(it) => it.kind().to_string(),
        other => other.to_string(),
    })
}

/// How many classes of characters a text has at most, before it is parsed.
fn classes(source: &str) -> u64 {
    let bytes = source.as_bytes();
    let named = bytes.windows(2).filter(|it| it[0] == b'\\' && b"pPwWdDsS".contains(&it[1])).count();
    let written = bytes.iter().filter(|it| **it == b'[').count();
    u64::try_from(named + written).unwrap_or(u64::MAX)
}

/// A bound of the size of the program, in one direction. A state takes 24 to 48 bytes, and a character of UTF-8 as many as
/// its bytes.
fn size(hir: &Hir) -> u64 {
    const STATE: u64 = 48;
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => STATE,
        HirKind::Literal(it) => STATE * (it.0.len() as u64),
        HirKind::Class(Class::Bytes(it)) => STATE + 8 * (it.ranges().len() as u64),
        HirKind::Class(Class::Unicode(it)) => {
            let sequences = it.ranges().iter().flat_map(|it| Utf8Sequences::new(it.start(), it.end()));
            STATE + sequences.map(|it| 24 * (it.len() as u64)).sum::<u64>()
        }
        HirKind::Repetition(it) => {
            let times = u64::from(it.max.unwrap_or(it.min).max(it.min).max(1));
            size(&it.sub).saturating_add(2 * STATE).saturating_mul(times)
        }
        HirKind::Capture(it) => size(&it.sub).saturating_add(STATE),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(STATE, |sum, it| sum.saturating_add(size(it)).saturating_add(8))
        }
    }
}

/// A bound of the states that can be at work at one byte of a text: at most one for each place in the expression that can take the byte. A
/// class of Unicode has a small automaton of its own, of which one state is at work, and that one looks through its ranges.
fn states(hir: &Hir) -> u64 {
    const CLASS: u64 = 4;
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) => 1,
        HirKind::Literal(it) => it.0.len() as u64,
        HirKind::Class(Class::Unicode(_)) => CLASS,
        HirKind::Repetition(it) => {
            let times = u64::from(it.max.unwrap_or(it.min).max(it.min).max(1));
            states(&it.sub).saturating_add(2).saturating_mul(times)
        }
        HirKind::Capture(it) => states(&it.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(1, |sum, it| sum.saturating_add(states(it)))
        }
    }
}

/// What every match of an expression begins with; empty if that is nothing in particular.
fn prefix_of(parsed: &Hir) -> Box<[u8]> {
    Extractor::new().extract(parsed).longest_common_prefix().unwrap_or_default().into()
}

// === impl Known ===

impl Known {
    fn insert(&mut self, expression: &Arc<Expression>) {
        if self.patterns.len() >= self.sweep_at {
            self.patterns.retain(|_, it| it.strong_count() > 0);
            self.sweep_at = (self.patterns.len() * 2).max(16);
        }
        self.patterns.insert(expression.source.clone(), Arc::downgrade(expression));
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.source == other.0.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_text() {
        let pattern = Pattern::new("a|b").unwrap();
        assert!(pattern.is_match("a") && pattern.is_match("b"));
        assert!(!pattern.is_match("ab") && !pattern.is_match("xa"));
        for (source, text, expected) in [
            (r"\w+", "héllo", true),
            (r"\w+", "a b", false),
            (r"(?i)straße", "STRAßE", true),
            (r"\bfoo\b.*", "foo bär", true),
            (r"(?m)^a$", "a\n", false),
            (r"a.c", "a\nc", false),
            (r"(?s)a.c", "a\nc", true),
            (r"^a$", "a", true),
            (r"", "", true),
            (r"", "x", false),
            (r"(?:)", "", true),
            (r"[^/]+", "ü€", true),
            (r"(a|ab)(c|bcd)", "abcd", true),
        ] {
            assert_eq!(Pattern::new(source).unwrap().is_match(text), expected, "{source} {text}");
        }
    }

    #[test]
    fn a_prefix_is_what_every_match_begins_with() {
        for (source, prefix, matching) in [
            ("/v[0-9]+/items", "/v", "/v12/items"),
            ("^/api/.*$", "/api/", "/api/x"),
            ("/a(b|c)d", "/a", "/acd"),
            ("/ab|/ac", "/a", "/ac"),
            ("/ab|x", "", "x"),
            ("/ab?c", "/a", "/ac"),
            ("/ab*", "/a", "/a"),
            ("(?i)/API", "/", "/aPi"),
            (".*", "", "anything"),
            ("", "", ""),
            ("/ä+", "/ä", "/ää"),
            ("(?:/x){0,2}", "", ""),
        ] {
            let pattern = Pattern::new(source).unwrap();
            assert_eq!(String::from_utf8_lossy(&pattern.0.prefix), prefix, "{source}");
            assert!(pattern.is_match(matching), "{source} {matching}");
        }
    }

    #[test]
    fn equal_expressions_are_parsed_once_as_long_as_one_is_held() {
        let (one, same) = (Pattern::new("/v[0-9]+").unwrap(), Pattern::new("/v[0-9]+").unwrap());
        assert!(Arc::ptr_eq(&one.0, &same.0));
        assert_ne!(one, Pattern::new("/v[0-9]*").unwrap());
        drop((one, same));
        for number in 0..100 {
            Pattern::new(&format!("/{number}/[a-z]+")).unwrap();
        }
        let kept = KNOWN.with_borrow(|known| known.patterns.len());
        assert!(kept <= 32, "{kept} are remembered and nobody holds one");
    }

    #[test]
    fn a_pattern_cannot_close_the_group_around_it_or_grow_without_bound() {
        for source in [
            "a)(b",
            "(?:a{1000}){1000}",
            "(?:(?:a{1000}){1000}){1000}",
            r"[\pL\pN]{1000}",
            &r"\pL".repeat(1000),
            &"[a]".repeat(1000),
            &"(".repeat(1000),
            r"(?!a)b",
            r"(a)\1",
            "[",
        ] {
            assert!(Pattern::new(source).is_err(), "{source}");
        }
    }

    #[test]
    fn what_people_write_costs_little() {
        for (source, kib) in [
            ("/v[0-9]+/items", 5),
            ("^(.*?;)?\\s*(user=beta)(;.*)?$", 16),
            ("[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\\.[A-Za-z]{2,}", 16),
            (r"/users/\d+/orders/\d+", 32),
            (r"/(\w+)/(\w+)", 168),
            ("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", 24),
        ] {
            let cost = Pattern::new(source).unwrap().cost();
            assert!(cost <= kib * 1024, "{source}: {} KiB", cost / 1024);
        }
    }

    #[test]
    fn the_comparisons_of_a_request_take_what_they_take_together_and_no_more() {
        let (many, few) = (Pattern::new(r"\pL(a?){300}b").unwrap(), Pattern::new("a+").unwrap());
        let text = "a".repeat(2000);
        let work = Work::default();
        assert_eq!(many.compare("ab", &work), Some(true));
        let (of_one_byte, of_two) = (work.taken() / 2, work.taken());
        assert!((300..=2000).contains(&of_one_byte), "{of_one_byte}");
        // What cannot match costs nothing, and a small automaton a step for each byte.
        assert_eq!(Pattern::new("b.*").unwrap().compare(&text, &work), Some(false));
        assert_eq!(work.taken(), of_two);
        assert_eq!(few.compare(&text, &work), Some(true));
        assert_eq!(work.taken(), of_two + 2000);
        let mut compared = 0;
        while let Some(is_match) = many.compare(&text, &work) {
            assert!(!is_match);
            compared += 1;
            assert_eq!(work.taken(), of_one_byte * compared * 2000 + of_two + 2000);
        }
        assert!((1..=6).contains(&compared), "{compared}");
        // From then on nothing is compared, however little it would take.
        assert_eq!(work.taken(), Work::LIMIT);
        assert_eq!(few.compare("a", &work), None);
        assert_eq!(Work::default().taken(), 0, "the next request");
    }

    #[test]
    fn the_longest_text_that_is_compared_follows_from_the_cost() {
        for (source, length, expected) in [
            ("/shop/.*", 64 * 1024, true),
            ("[a-z0-9-]+", 64 * 1024, true),
            (r"Bearer \w+", 4 * 1024, true),
            (r"[\pL\pN]{10}", 100, true),
            (r"[\pL\pN]{10}", 64 * 1024, false),
        ] {
            let pattern = Pattern::new(source).unwrap();
            assert_eq!(pattern.takes(length), expected, "{source} {length}, cost {}", pattern.cost());
            assert!(pattern.takes(256), "{source}");
            assert!(!pattern.takes(usize::MAX), "{source}");
        }
    }
}
