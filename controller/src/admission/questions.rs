//! How many questions about tokens go to the API server, and how many of them one address may bring about.

use super::reviewer::ReviewError;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

/// Questions under way, of all addresses and of one.
const AT_ONCE: usize = 16;
const EACH_AT_ONCE: usize = 4;
/// Questions that one address may bring about at once, and then each second. A proxy brings about one in half a minute; a node
/// whose network hides its pods has a hundred of them.
const BURST: u32 = 64;
const EACH_SECOND: u32 = 8;
/// How long a question waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// Addresses that are remembered.
const MOST: usize = 4096;

#[derive(Debug)]
pub(super) struct Questions {
    turns: Semaphore,
    sources: Arc<Mutex<Sources>>,
}

type Sources = HashMap<IpAddr, Source, ahash::RandomState>;

#[derive(Debug)]
struct Source {
    left: u32,
    since: Instant,
    under_way: usize,
}

/// The right to ask one question.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
    _counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    sources: Arc<Mutex<Sources>>,
    source: IpAddr,
}

// === impl Questions ===

impl Default for Questions {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), sources: Arc::default() }
    }
}

impl Questions {
    /// Waits for a turn. Whoever brings about too many is told to come back later; others wait for nothing of theirs.
    pub(super) async fn turn(&self, source: Option<IpAddr>) -> Result<Turn<'_>, ReviewError> {
        let counted = source.map(|source| self.count(source)).transpose()?;
        match timeout(TURN, self.turns.acquire()).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: permit, _counted: counted }),
            _ => Err(ReviewError::Unavailable("too many tokens wait to be reviewed".to_owned())),
        }
    }

    fn count(&self, source: IpAddr) -> Result<Counted, ReviewError> {
        let (now, mut sources) = (Instant::now(), lock(&self.sources));
        if sources.len() >= MOST {
            sources.retain(|_, it| {
                it.refill(now);
                it.under_way > 0 || it.left < BURST
            });
        }
        let it = sources.entry(source).or_insert(Source { left: BURST, since: now, under_way: 0 });
        it.refill(now);
        if it.left == 0 || it.under_way >= EACH_AT_ONCE {
            let why = format!("too many new tokens come from {source}; try again later");
            return Err(ReviewError::Unavailable(why));
        }
        it.left -= 1;
        it.under_way += 1;
        Ok(Counted { sources: self.sources.clone(), source })
    }
}

fn lock(sources: &Mutex<Sources>) -> MutexGuard<'_, Sources> {
    sources.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(it) = lock(&self.sources).get_mut(&self.source) {
            it.under_way = it.under_way.saturating_sub(1);
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
        for number in 0..4 {
            for _ in 0..4 {
                held.push(questions.turn(source(number)).await.unwrap());
            }
        }
        let before = Instant::now();
        assert!(matches!(questions.turn(source(9)).await, Err(ReviewError::Unavailable(_))));
        assert_eq!(before.elapsed(), TURN);
    }
}
