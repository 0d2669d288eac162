//! Series: counters that a set of labels tells apart.
//!
//! A commit resolves labels to a [`Series`] and keeps it in what it compiles (a rule's backend, say). A record counts into
//! it without looking anything up. The counters are made when a series is first used, if the budget allows; they go when
//! the last holder of the series drops it.

use crate::count::Count;
use crate::histogram::{DurationSum, Durations};
use crate::labels::Family;
use ahash::RandomState;
use fairway_runtime::workers::WorkerId;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// The most results a family can have.
pub const MAX_RESULTS: usize = 10;

/// How many series a proxy keeps apart. One series of this budget is one set of labels without the response class or the
/// outcome; those are a few more lines of the same series.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// A set of labels, resolved. Clones are of the same series; as long as one of them lives, equal labels resolve to it.
///
/// Resolving takes nothing of the budget, the first record does. A place is free again when the last holder is gone:
///
/// ```
/// use fairway_runtime::workers::WorkerId;
/// use fairway_telemetry::{AccessLog, Record, RequestLabels, RuleName, Series, Telemetry};
/// use http::{Request, StatusCode};
/// use std::num::NonZeroUsize;
/// use tokio::time::Instant;
///
/// let telemetry = Telemetry::new(NonZeroUsize::MIN, 1);
/// let recorder = telemetry.recorder(WorkerId(0), AccessLog::Off, None).expect("each worker takes its own once");
/// let series = |route: &str| {
///     let rule = Some((route.into(), RuleName::Number(0)));
///     telemetry.requests().series(RequestLabels { rule, backend: None })
/// };
/// let record = |series: &Series<RequestLabels>| {
///     let (parts, ()) = Request::new(()).into_parts();
///     let mut record = Record::request(&recorder, &parts);
///     record.matched(series);
///     record.responded(StatusCode::OK, Instant::now());
/// };
/// let is_shown = |line: &str| {
///     let mut registry = prometheus_client::registry::Registry::with_prefix("fairway");
///     registry.register_collector(Box::new(telemetry.clone()));
///     let mut text = String::new();
///     prometheus_client::encoding::text::encode(&mut text, &registry).expect("a string can be written to");
///     text.lines().any(|it| it == line)
/// };
///
/// let (_unused, cart, stock) = (series("HTTPRoute/shop/unused"), series("HTTPRoute/shop/cart"), series("HTTPRoute/shop/stock"));
/// record(&cart);
/// record(&stock);
/// assert!(is_shown("fairway_series 1"));
/// assert!(is_shown("fairway_series_over_budget 1"), "the stock counts as `other`");
///
/// drop(cart);
/// record(&stock);
/// assert!(is_shown("fairway_series_over_budget 0"), "and from now on under its own labels");
/// ```
#[derive(Debug)]
pub struct Series<L>(Arc<Inner<L>>);

/// The series of one family.
#[derive(Debug)]
pub struct SeriesTable<L> {
    resolved: Mutex<Resolved<L>>,
    pinned: Mutex<Vec<Series<L>>>,
    other: Series<L>,
    budget: Arc<Budget>,
    workers: NonZeroUsize,
}

#[derive(Debug)]
struct Resolved<L> {
    by_labels: HashMap<L, Weak<Inner<L>>, RandomState>,
    /// With how many entries those that are dead are taken out.
    sweep_at: usize,
}

#[derive(Debug)]
struct Inner<L> {
    /// None: what is beyond the budget.
    labels: Option<L>,
    workers: NonZeroUsize,
    tallies: OnceLock<Box<[OnceLock<Arc<Tally>>]>>,
    /// [`IDLE`], [`DENIED`] or [`ADMITTED`].
    state: AtomicU8,
    /// None: it is not counted in the budget.
    limited: Option<Limited<L>>,
}

#[derive(Debug)]
struct Limited<L> {
    budget: Arc<Budget>,
    other: Series<L>,
}

/// One worker's counters of a series. Written by that worker alone.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Tally {
    results: [Count; MAX_RESULTS],
    durations: Durations,
    received: Count,
    sent: Count,
    /// Whether its series is gone, so that nobody reads it any more.
    is_retired: AtomicBool,
}

/// The sum of all workers' counters of a series.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) results: [u64; MAX_RESULTS],
    pub(crate) durations: DurationSum,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// What a scrape reads of a table.
#[derive(Debug)]
pub(crate) struct Reading<L> {
    /// Those that were used, in the order of their labels' text, and last what is beyond the budget.
    pub(crate) series: Vec<(Option<L>, Sum)>,
    /// How many are beyond the budget.
    pub(crate) denied: usize,
}

/// It was not used.
const IDLE: u8 = 0;
/// It was used, and the budget had no room.
const DENIED: u8 = 1;
/// It is in the budget.
const ADMITTED: u8 = 2;

// === impl Budget ===

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    fn acquire(&self) -> bool {
        // Read first: what is beyond the budget comes here with every record, and must not write to what all workers read.
        self.used() < self.limit
            && self.used.fetch_update(Relaxed, Relaxed, |it| (it < self.limit).then_some(it + 1)).is_ok()
    }

    fn release(&self) {
        self.used.fetch_sub(1, Relaxed);
    }
}

// === impl SeriesTable ===

impl<L: Family> SeriesTable<L> {
    pub(crate) fn new(workers: NonZeroUsize, budget: Arc<Budget>) -> Self {
        const { assert!(L::RESULTS.len() <= MAX_RESULTS, "a family has more results than there is room for") };
        let other = Series(Arc::new(Inner::new(None, workers, None)));
        let resolved = Resolved { by_labels: HashMap::default(), sweep_at: 64 };
        Self { resolved: Mutex::new(resolved), pinned: Mutex::default(), other, budget, workers }
    }

    /// The series with these labels. Called when a configuration is committed: it takes a lock.
    pub fn series(&self, labels: L) -> Series<L> {
        let mut resolved = lock(&self.resolved);
        if let Some(inner) = resolved.by_labels.get(&labels).and_then(Weak::upgrade) {
            return Series(inner);
        }
        if resolved.by_labels.len() >= resolved.sweep_at {
            resolved.by_labels.retain(|_, it| it.strong_count() > 0);
            resolved.sweep_at = 64.max(2 * resolved.by_labels.len());
        }
        let limited = Limited { budget: self.budget.clone(), other: self.other.clone() };
        let inner = Arc::new(Inner::new(Some(labels.clone()), self.workers, Some(limited)));
        resolved.by_labels.insert(labels, Arc::downgrade(&inner));
        Series(inner)
    }

    /// A series that is there as long as the table, outside the budget.
    pub(crate) fn pinned(&self, labels: L) -> Series<L> {
        let inner = Arc::new(Inner::new(Some(labels.clone()), self.workers, None));
        lock(&self.resolved).by_labels.insert(labels, Arc::downgrade(&inner));
        lock(&self.pinned).push(Series(inner.clone()));
        Series(inner)
    }

    pub(crate) fn other(&self) -> &Series<L> {
        &self.other
    }

    /// Adds up the workers' counters.
    pub(crate) fn read(&self) -> Reading<L> {
        let all: Vec<Series<L>> = {
            let mut resolved = lock(&self.resolved);
            resolved.by_labels.retain(|_, it| it.strong_count() > 0);
            resolved.by_labels.values().filter_map(Weak::upgrade).map(Series).collect()
        };
        let denied = all.iter().filter(|it| it.0.state.load(Relaxed) == DENIED).count();
        let used = all.iter().filter(|it| it.0.tallies.get().is_some());
        let mut read: Vec<_> = used.map(|it| (it.0.labels.clone(), it.sum())).collect();
        read.sort_by_cached_key(|(labels, _)| {
            let labels = labels.as_ref().map(Family::values).unwrap_or_default();
            labels.into_iter().map(|it| it.into_owned()).collect::<Vec<_>>()
        });
        if self.other.0.tallies.get().is_some() {
            read.push((None, self.other.sum()));
        }
        Reading { series: read, denied }
    }
}

// === impl Series ===

impl<L: Family> Series<L> {
    /// Its labels; none if it takes what is beyond the budget.
    pub fn labels(&self) -> Option<&L> {
        self.0.labels.as_ref()
    }

    /// The worker's counters: its own if the budget allows, else those of what is beyond it.
    pub(crate) fn tally(&self, worker: WorkerId) -> Option<&Arc<Tally>> {
        let inner = &*self.0;
        match &inner.limited {
            Some(limited) if !inner.is_admitted(limited) => limited.other.own_tally(worker),
            _ => self.own_tally(worker),
        }
    }

    fn own_tally(&self, worker: WorkerId) -> Option<&Arc<Tally>> {
        let inner = &*self.0;
        let tallies =
            inner.tallies.get_or_init(|| (0..inner.workers.get()).map(|_| OnceLock::new()).collect());
        Some(tallies.get(worker.0)?.get_or_init(Arc::default))
    }

    fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for tally in self.0.tallies.get().into_iter().flatten().filter_map(OnceLock::get) {
            for (all, one) in sum.results.iter_mut().zip(&tally.results) {
                *all += one.get();
            }
            sum.durations.add(&tally.durations);
            sum.received += tally.received.get();
            sum.sent += tally.sent.get();
        }
        sum
    }
}

impl<L> Clone for Series<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

// === impl Inner ===

impl<L> Inner<L> {
    fn new(labels: Option<L>, workers: NonZeroUsize, limited: Option<Limited<L>>) -> Self {
        Self { labels, workers, tallies: OnceLock::new(), state: AtomicU8::new(IDLE), limited }
    }

    /// Whether it is in the budget, into which it is taken if there is room.
    fn is_admitted(&self, limited: &Limited<L>) -> bool {
        let state = self.state.load(Relaxed);
        if state == ADMITTED {
            return true;
        }
        if !limited.budget.acquire() {
            if state == IDLE {
                // Fails if another worker was first.
                let _ = self.state.compare_exchange(IDLE, DENIED, Relaxed, Relaxed);
            }
            return false;
        }
        if self.state.swap(ADMITTED, Relaxed) == ADMITTED {
            // Another worker was first.
            limited.budget.release();
        }
        true
    }
}

impl<L> Drop for Inner<L> {
    fn drop(&mut self) {
        if let Some(limited) = &self.limited
            && *self.state.get_mut() == ADMITTED
        {
            limited.budget.release();
        }
        for tally in self.tallies.get().into_iter().flatten().filter_map(OnceLock::get) {
            tally.is_retired.store(true, Relaxed);
        }
    }
}

// === impl Tally ===

impl Tally {
    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired.load(Relaxed)
    }

    pub(crate) fn count(&self, result: usize) {
        if let Some(count) = self.results.get(result) {
            count.increment();
        }
    }

    pub(crate) fn measure(&self, took: Duration, received: u64, sent: u64) {
        self.durations.observe(took);
        self.received.add(received);
        self.sent.add(sent);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
