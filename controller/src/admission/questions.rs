//! How many questions about tokens go to the API server, and how many of them one address may bring about.

use super::reviewer::ReviewError;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// Questions under way, of all addresses and of one.
const AT_ONCE: usize = 16;
const EACH_AT_ONCE: usize = 4;
/// While more than this are under way, who has one waits for another.
const FREE: usize = AT_ONCE / 2;
/// Questions that one address may bring about at once, and then each second. A proxy brings about one in half a minute; a node
/// whose network hides its pods has a hundred of them.
const BURST: u32 = 64;
const EACH_SECOND: u32 = 8;
/// How long a question waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// Addresses that are remembered.
const MOST: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Questions(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    under_way: usize,
    /// In the order in which they came.
    waiting: VecDeque<Waiting>,
    sources: HashMap<IpAddr, Source, ahash::RandomState>,
}

#[derive(Debug)]
struct Waiting {
    source: Option<IpAddr>,
    turn: oneshot::Sender<Turn>,
}

#[derive(Debug)]
struct Source {
    left: u32,
    since: Instant,
    /// Questions that wait or are under way.
    brought: usize,
    under_way: usize,
}

/// The right to ask one question.
#[derive(Debug)]
pub(super) struct Turn {
    queue: Arc<Mutex<Queue>>,
    source: Option<IpAddr>,
}

/// One of the questions that an address has brought about.
#[derive(Debug)]
struct Brought {
    queue: Arc<Mutex<Queue>>,
    source: IpAddr,
}

/// A turn, as long as the question is asked.
#[derive(Debug)]
pub(super) struct Asking {
    _turn: Turn,
    _brought: Option<Brought>,
}

// === impl Questions ===

impl Questions {
    /// Waits for a turn. Whoever brings about too many is told to come back later; others wait for nothing of theirs: turns go to the
    /// addresses in rotation.
    pub(super) async fn turn(&self, source: Option<IpAddr>) -> Result<Asking, ReviewError> {
        let brought = source.map(|source| self.count(source)).transpose()?;
        let (turn, came) = oneshot::channel();
        lock(&self.0).waiting.push_back(Waiting { source, turn });
        give_turns(&self.0);
        match timeout(TURN, came).await {
            Ok(Ok(turn)) => Ok(Asking { _turn: turn, _brought: brought }),
            _ => Err(ReviewError::Unavailable("too many tokens wait to be reviewed".to_owned())),
        }
    }

    fn count(&self, source: IpAddr) -> Result<Brought, ReviewError> {
        let (now, mut queue) = (Instant::now(), lock(&self.0));
        let sources = &mut queue.sources;
        if sources.len() >= MOST {
            sources.retain(|_, it| {
                it.refill(now);
                it.brought > 0 || it.left < BURST
            });
        }
        let it =
            sources.entry(source).or_insert(Source { left: BURST, since: now, brought: 0, under_way: 0 });
        it.refill(now);
        if it.left == 0 || it.brought >= EACH_AT_ONCE {
            let why = format!("too many new tokens come from {source}; try again later");
            return Err(ReviewError::Unavailable(why));
        }
        it.left -= 1;
        it.brought += 1;
        Ok(Brought { queue: self.0.clone(), source })
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives turns to those who wait, as long as there are some.
fn give_turns(queue: &Arc<Mutex<Queue>>) {
    loop {
        let Some(Waiting { source, turn }) = lock(queue).next() else { return };
        // Who has given up in this moment gives the turn back. Not while the queue is locked.
        drop(turn.send(Turn { queue: queue.clone(), source }));
    }
}

// === impl Queue ===

impl Queue {
    /// Takes out the one whose turn it is: of those whose address has the fewest questions under way, who came first.
    fn next(&mut self) -> Option<Waiting> {
        self.waiting.retain(|it| !it.turn.is_closed());
        if self.under_way >= AT_ONCE {
            return None;
        }
        let of = |source: Option<IpAddr>| {
            let source = source.and_then(|it| self.sources.get(&it));
            source.map_or(0, |it| it.under_way)
        };
        let waiting = self.waiting.iter().enumerate().map(|(index, it)| (of(it.source), index));
        let (held, index) = waiting.min()?;
        if held > 0 && self.under_way >= FREE {
            return None;
        }
        let next = self.waiting.remove(index)?;
        self.under_way += 1;
        if let Some(it) = next.source.and_then(|it| self.sources.get_mut(&it)) {
            it.under_way += 1;
        }
        Some(next)
    }
}

// === impl Source ===

impl Source {
    fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        let credit = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(EACH_SECOND);
        self.left = self.left.saturating_add(credit).min(BURST);
        self.since += Duration::from_secs(seconds);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        {
            let mut queue = lock(&self.queue);
            queue.under_way = queue.under_way.saturating_sub(1);
            if let Some(it) = self.source.and_then(|it| queue.sources.get_mut(&it)) {
                it.under_way = it.under_way.saturating_sub(1);
            }
        }
        give_turns(&self.queue);
    }
}

impl Drop for Brought {
    fn drop(&mut self) {
        if let Some(it) = lock(&self.queue).sources.get_mut(&self.source) {
            it.brought = it.brought.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u8) -> Option<IpAddr> {
        Some([10, 0, 0, number].into())
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_has_a_few_turns_and_leaves_the_others_theirs() {
        let questions = Questions::default();
        let mut held = Vec::new();
        while let Ok(turn) = questions.turn(source(1)).await {
            held.push(turn);
        }
        assert_eq!(held.len(), EACH_AT_ONCE);
        let before = Instant::now();
        assert!(questions.turn(source(2)).await.is_ok());
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_asks_so_many_times_and_then_so_many_a_second() {
        let questions = Questions::default();
        let asked = async || {
            let mut count = 0;
            while questions.turn(source(1)).await.is_ok() {
                count += 1;
            }
            count
        };
        assert_eq!(asked().await, BURST);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(asked().await, 2 * EACH_SECOND);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(asked().await, BURST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_come_is_given_up() {
        let questions = Questions::default();
        let mut held = Vec::new();
        for number in 0..16 {
            held.push(questions.turn(source(number)).await.unwrap());
        }
        let before = Instant::now();
        assert!(matches!(questions.turn(source(99)).await, Err(ReviewError::Unavailable(_))));
        assert_eq!(before.elapsed(), TURN);
        held.clear();
        let queue = lock(&questions.0);
        assert_eq!((queue.under_way, queue.waiting.len()), (0, 0), "nobody waits for who gave up");
        assert!(queue.sources.values().all(|it| (it.under_way, it.brought) == (0, 0)));
    }

    /// Four pods whose tokens are well-formed and not signed, and an API server that takes its time.
    #[tokio::test(start_paused = true)]
    async fn addresses_that_ask_as_much_as_they_may_leave_others_a_turn() {
        let questions = Arc::new(Questions::default());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            for number in 0..4 {
                let questions = questions.clone();
                tasks.spawn(async move {
                    let turn = questions.turn(source(number)).await;
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    turn.is_ok()
                });
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let (before, mut others) = (Instant::now(), Vec::new());
        for number in 10..18 {
            others.push(questions.turn(source(number)).await.unwrap());
        }
        assert_eq!(before.elapsed(), Duration::ZERO);
        drop(others);
        let all = tasks.join_all().await;
        assert!(all.iter().all(|has_turn| *has_turn), "they have theirs too: {all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn turns_go_to_the_addresses_in_rotation() {
        let questions = Arc::new(Questions::default());
        let mut held = Vec::new();
        for number in 0..16 {
            held.push(questions.turn(source(number)).await.unwrap());
        }
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for number in [50, 50, 50, 51, 52] {
            let (questions, order) = (questions.clone(), order.clone());
            tasks.spawn(async move {
                let turn = questions.turn(source(number)).await.unwrap();
                order.lock().unwrap().push(number);
                tokio::time::sleep(Duration::from_secs(1)).await;
                drop(turn);
            });
            tokio::task::yield_now().await;
        }
        for it in held.drain(..3) {
            drop(it);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tasks.join_all().await;
        assert_eq!(order.lock().unwrap()[..3], [50, 51, 52]);
    }
}
