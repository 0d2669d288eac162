//! The programs of regular expressions: built when they are first needed, and held within one budget of the process.
//!
//! Most programs are automata that are built whole: they never change, take what they take, and need nothing beside them.
//! An expression whose automaton would be large (classes of Unicode, counted repetitions) gets one that is worked out as texts
//! come, within a cache of fixed size.

use super::pattern::Expression;
use super::work::Work;
use arc_swap::ArcSwapOption;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Anchored, Input, MatchKind, meta};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

/// Where the program of an expression stands, if it is built.
#[derive(Default)]
pub(super) struct Slot {
    program: ArcSwapOption<Program>,
    /// Whether a text was compared since the budget last looked.
    used: AtomicBool,
}

/// A program that says whether a whole text matches.
enum Program {
    /// An automaton with every state built.
    Whole(Box<dense::DFA<Vec<u32>>>),
    /// Worked out as texts come.
    Lazy(meta::Regex),
}

/// The programs of this process. Of those that are too many, the ones go that were not used for longest, roughly (second
/// chance); whoever needs one again builds it again.
#[derive(Default)]
struct Held {
    entries: VecDeque<Entry>,
    bytes: usize,
}

struct Entry {
    expression: Weak<Expression>,
    bytes: usize,
}

/// What all programs of a process take at most.
pub(super) const BUDGET: usize = 64 * 1024 * 1024;
/// An automaton that would be larger is not built whole.
const LARGEST_WHOLE: usize = 32 * 1024;
/// What may be spent to find out.
const LARGEST_ATTEMPT: usize = 128 * 1024;
/// The cache of a lazy program, for each thread that uses it.
const CACHE: usize = 128 * 1024;

static HELD: LazyLock<Mutex<Held>> = LazyLock::new(Mutex::default);
static THREADS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));

// === impl Slot ===

impl Slot {
    /// Whether the whole text matches. Takes no lock, unless the program has to be built.
    pub(super) fn is_match(expression: &Arc<Expression>, text: &str) -> bool {
        Self::with_program(expression, |it| it.is_match(text)).unwrap_or_default()
    }

    /// The same within what a request may still take; none if that is not enough.
    pub(super) fn compare(expression: &Arc<Expression>, text: &str, work: &Work) -> Option<bool> {
        let compare = |program: &Program| {
            work.take(program.steps(expression, text.len())).then(|| program.is_match(text))
        };
        Self::with_program(expression, compare).unwrap_or(Some(false))
    }

    fn with_program<T>(expression: &Arc<Expression>, run: impl FnOnce(&Program) -> T) -> Option<T> {
        let slot = &expression.slot;
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        match &*slot.program.load() {
            Some(program) => Some(run(program)),
            None => Self::build(expression).map(|it| run(&it)),
        }
    }

    /// Builds the program. What was parsed when it came in can be built: there is no limit here that it could exceed.
    fn build(expression: &Arc<Expression>) -> Option<Arc<Program>> {
        let program = match Program::compile(expression) {
            Ok(program) => Arc::new(program),
            Err(error) => {
                tracing::error!(%error, "a regular expression that was accepted cannot be built; it matches nothing");
                return None;
            }
        };
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        if expression.slot.program.load().is_none() {
            expression.slot.program.store(Some(program.clone()));
            held.admit(expression, program.bytes());
        }
        Some(program)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("built", &self.program.load().is_some()).finish()
    }
}

// === impl Program ===

impl Program {
    fn compile(expression: &Expression) -> Result<Self, String> {
        let whole = expression.whole()?;
        let nfa = regex_automata::nfa::thompson::Compiler::new()
            .configure(regex_automata::nfa::thompson::Config::new().which_captures(WhichCaptures::None))
            .build_from_hir(&whole);
        let dense = nfa.ok().and_then(|nfa| {
            let config = dense::Config::new()
                .start_kind(StartKind::Anchored)
                .match_kind(MatchKind::LeftmostFirst)
                .accelerate(false)
                .dfa_size_limit(Some(LARGEST_WHOLE))
                .determinize_size_limit(Some(LARGEST_ATTEMPT));
            dense::Builder::new().configure(config).build_from_nfa(&nfa).ok()
        });
        if let Some(dense) = dense {
            return Ok(Self::Whole(Box::new(dense)));
        }
        let config = meta::Config::new()
            .nfa_size_limit(None)
            .which_captures(WhichCaptures::None)
            .hybrid_cache_capacity(CACHE)
            .onepass(false)
            .backtrack(false)
            .dfa(false)
            .auto_prefilter(false);
        let lazy = meta::Builder::new().configure(config).build_from_hir(&whole);
        lazy.map(Self::Lazy).map_err(|it| it.to_string())
    }

    fn is_match(&self, text: &str) -> bool {
        let input = Input::new(text).anchored(Anchored::Yes);
        match self {
            // It quits at nothing: no such byte is configured, and there are no word boundaries of Unicode in it.
            Self::Whole(dense) => matches!(dense.try_search_fwd(&input), Ok(Some(_))),
            Self::Lazy(regex) => regex.is_match(input),
        }
    }

    /// The steps that a text of this length takes at most.
    fn steps(&self, expression: &Expression, length: usize) -> u64 {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        match self {
            Self::Whole(_) => length,
            // Once its cache has been full too often, it visits every state that is at work.
            Self::Lazy(_) => length.saturating_mul(expression.states),
        }
    }

    /// What it takes at most.
    fn bytes(&self) -> usize {
        match self {
            Self::Whole(dense) => dense.memory_usage() + size_of::<Self>(),
            Self::Lazy(regex) => regex.memory_usage() + CACHE * *THREADS,
        }
    }
}

// === impl Held ===

impl Held {
    fn admit(&mut self, expression: &Arc<Expression>, bytes: usize) {
        self.entries.push_back(Entry { expression: Arc::downgrade(expression), bytes });
        self.bytes += bytes;
        // At most twice around: after the first, nobody is left who was used.
        let mut looks = 2 * self.entries.len();
        while self.bytes > BUDGET && looks > 1 {
            looks -= 1;
            let Some(entry) = self.entries.pop_front() else { return };
            match entry.expression.upgrade() {
                Some(it) if Arc::ptr_eq(&it, expression) || it.slot.used.swap(false, Ordering::Relaxed) => {
                    self.entries.push_back(entry);
                }
                Some(it) => {
                    it.slot.program.store(None);
                    self.bytes -= entry.bytes;
                }
                None => self.bytes -= entry.bytes,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pattern;
    use proptest::prelude::*;

    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm.split(' ').nth(1).and_then(|it| it.parse::<usize>().ok()).unwrap_or_default() * 4096
    }

    #[test]
    fn however_many_expressions_are_used_their_programs_stay_within_the_budget() {
        let patterns: Vec<Pattern> =
            (0..2_000).map(|it| Pattern::new(&format!(r"[\pL\pN]{{5}}x{it}")).unwrap()).collect();
        let before = resident();
        for (number, pattern) in patterns.iter().enumerate() {
            assert!(pattern.is_match(&format!("äbcdéx{number}")), "{pattern:?}");
        }
        let bytes = HELD.lock().unwrap().bytes;
        assert!(bytes <= BUDGET, "{bytes}");
        let grown = resident().saturating_sub(before);
        assert!(grown < 2 * BUDGET, "{} MiB", grown >> 20);
        // What went is built again.
        assert!(patterns[0].is_match("aaaaax0") && !patterns[0].is_match("aaaaax1"));
    }

    /// Expressions of every kind that has a size of its own.
    fn expressions() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[a-z/é€]{1,6}",
            Just(".".to_owned()),
            Just(r"\w".to_owned()),
            Just(r"\d".to_owned()),
            Just(r"\S".to_owned()),
            Just(r"\pL".to_owned()),
            Just(r"(?i)\p{Greek}".to_owned()),
            Just(r"[^/]".to_owned()),
            Just(r"[a-zA-Z0-9_-]".to_owned()),
            Just(r"(?-u:\w)".to_owned()),
            Just(r"\b".to_owned()),
            Just("(?i)k".to_owned()),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|it| it.concat()),
                prop::collection::vec(inner.clone(), 1..4).prop_map(|it| format!("(?:{})", it.join("|"))),
                inner.clone().prop_map(|it| format!("({it})*")),
                inner.clone().prop_map(|it| format!("(?:{it})?")),
                (inner.clone(), 0..5_u32, 0..5_u32)
                    .prop_map(|(it, a, b)| format!("(?:{it}){{{a},{}}}", a + b)),
                (inner, 0..5_u32).prop_map(|(it, a)| format!("(?:{it}){{{a},}}")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn what_is_taken_in_can_be_built_within_its_cost(source in expressions()) {
            let Ok(pattern) = Pattern::new(&source) else { return Ok(()) };
            let expression = pattern.expression();
            let whole = expression.whole().unwrap();
            let config = regex_automata::nfa::thompson::Config::new().which_captures(WhichCaptures::None);
            for reverse in [false, true] {
                let nfa = regex_automata::nfa::thompson::Compiler::new()
                    .configure(config.clone().reverse(reverse))
                    .build_from_hir(&whole)
                    .unwrap();
                let bytes = nfa.memory_usage() as u64;
                prop_assert!(bytes <= pattern.cost(), "{}: {} > {}", source, bytes, pattern.cost());
            }
            Program::compile(expression).unwrap();
        }

        #[test]
        fn a_program_says_what_the_reference_says(source in expressions(), text in "[a-z/é€kK0-9 _\n-]{0,8}") {
            let Ok(pattern) = Pattern::new(&source) else { return Ok(()) };
            let reference = meta::Regex::new(&format!("^(?:{source})$")).unwrap();
            prop_assert_eq!(pattern.is_match(&text), reference.is_match(&text), "{} {:?}", source, text);
        }
    }
}
