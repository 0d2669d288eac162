//! How many descriptors the process may have, and when so few are left that clients must wait.
//!
//! Container runtimes start programs with a soft limit of 1024 and a hard one far above. Every connection of a client may need
//! one more towards a backend, so a process that takes clients up to its limit serves nobody. A part is kept back: for
//! connections to endpoints and to the controller, for files, and for the pods that hold the fewest.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Of so many descriptors one is kept back, but no more than this.
const SHARE: u64 = 4;
const MOST: u64 = 4096;

/// The soft limit; 0 while nobody has asked.
static LIMIT: AtomicU64 = AtomicU64::new(0);

/// How much room for descriptors is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The limit of open files is as high as was wanted.
    Enough,
    /// What is left is kept back.
    Scarce,
}

/// Raises the soft limit to the hard one. Call it at the start of every program, before anything is opened.
pub fn raise() {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, wanted) {
            let limit = before.current.unwrap_or_default();
            tracing::warn!(limit, %error, "the limit of open files cannot be raised (setrlimit); it stays");
        }
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    LIMIT.store(now, Relaxed);
    tracing::info!(limit = now, reserve = reserve(now), "open files");
}

/// How many descriptors the process may have.
pub fn limit() -> u64 {
    match LIMIT.load(Relaxed) {
        0 => {
            let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
            LIMIT.store(now, Relaxed);
            now
        }
        known => known,
    }
}

/// How many of them are for clients.
pub fn for_clients() -> u64 {
    limit() - reserve(limit())
}

/// Whether room is left for clients, by the descriptor that one of them was given just now: the kernel gives the lowest number
/// that is free (POSIX open), so that a high one proves that as many are in use. Nothing is counted.
pub fn room_after(newest: &impl AsFd) -> Room {
    room(newest.as_fd().as_raw_fd(), limit())
}

fn room(number: i32, limit: u64) -> Room {
    match u64::try_from(number) {
        Ok(number) if number >= limit - reserve(limit) => Room::Scarce,
        _ => Room::Enough,
    }
}

fn reserve(limit: u64) -> u64 {
    (limit / SHARE).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_kept_back_and_of_many_no_more_than_is_of_use() {
        for (limit, number, expected) in [
            (256, 191, Room::Enough),
            (256, 192, Room::Scarce),
            (1024, 767, Room::Enough),
            (1024, 768, Room::Scarce),
            (1_048_576, 1_044_479, Room::Enough),
            (1_048_576, 1_044_480, Room::Scarce),
            (u64::MAX, i32::MAX, Room::Enough),
            (256, -1, Room::Enough),
        ] {
            assert_eq!(room(number, limit), expected, "{number} of {limit}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let low = before.maximum.map(|it| it.min(512));
        setrlimit(Resource::Nofile, Rlimit { current: low, maximum: before.maximum }).unwrap();
        raise();
        let after = getrlimit(Resource::Nofile);
        assert_eq!(after.current, after.maximum);
        assert_eq!(limit(), after.maximum.unwrap_or(u64::MAX));
        assert!(for_clients() < limit() || limit() < SHARE);
    }
}
