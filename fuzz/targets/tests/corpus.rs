//! Every fuzz target over its committed corpus and over mutations of it, on stable Rust and in seconds. `make fuzz` looks
//! further.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]
#![allow(clippy::disallowed_types, reason = "what is measured is real time")]

use fairway_fuzz_targets::{TARGETS, Target};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Mutations of each target's corpus, unless the machine is too slow for as many.
const MUTATIONS: usize = 100_000;
/// The most time that the mutations of one target take.
const TIME: Duration = Duration::from_secs(1);
/// So many targets run at the same time.
const THREADS: usize = 2;
/// The corpus is small enough to be in the repository.
const MOST_FILES: usize = 100;
const LARGEST_FILE: usize = 4096;
/// What a mutation likes to put in: ends of lines, separators, ends of numbers.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\0",
    b":",
    b",",
    b";",
    b"/..",
    b"%2e",
    b" ",
    b"\t",
    b"0",
    b"-1",
    b"18446744073709551616",
    b"\xff\xff\xff\xff",
    b"\x80",
    b"chunked",
    b"upgrade",
    b"websocket",
    b"content-length: 1",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join("corpus").join(target.name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<(String, Vec<u8>)> = files
        .map(|file| {
            let file = file.unwrap();
            (file.file_name().to_string_lossy().into_owned(), std::fs::read(file.path()).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

fn run(target: &Target, origin: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        panic!("{} does not hold for {origin}: b\"{}\"", target.name, input.escape_ascii());
    }
}

#[test]
fn every_target_has_a_file_for_the_fuzzer_and_a_small_corpus() {
    let names: BTreeSet<String> = TARGETS.iter().map(|it| it.name.to_owned()).collect();
    let listed = |what: &str| -> BTreeSet<String> {
        let files = std::fs::read_dir(folder().join(what)).unwrap();
        files.map(|it| it.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(listed("fuzz_targets"), names);
    assert_eq!(listed("corpus"), names);
    for target in TARGETS {
        let inputs = corpus(target);
        assert!(!inputs.is_empty() && inputs.len() <= MOST_FILES, "{}: {} files", target.name, inputs.len());
        for (file, input) in inputs {
            assert!(input.len() <= LARGEST_FILE, "{}/{file}: {} bytes", target.name, input.len());
        }
    }
}

#[test]
fn what_must_hold_of_peers_bytes_holds_for_the_corpus_and_for_mutations_of_it() {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(target) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run_mutations(target);
                }
            });
        }
    });
}

fn run_mutations(target: &Target) {
    let inputs = corpus(target);
    for (file, input) in &inputs {
        run(target, file, input);
    }
    // The same mutations each time.
    let mut random = SmallRng::seed_from_u64(target.name.bytes().map(u64::from).sum());
    let began = Instant::now();
    for number in 0..MUTATIONS {
        let mut input = inputs[random.random_range(0..inputs.len())].1.clone();
        for _ in 0..random.random_range(1..=4) {
            let other = &inputs[random.random_range(0..inputs.len())].1;
            mutate(&mut input, other, &mut random);
        }
        run(target, &format!("mutation {number}"), &input);
        if began.elapsed() > TIME {
            break;
        }
    }
}

fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut SmallRng) {
    let at = random.random_range(0..=input.len());
    let end = random.random_range(at..=input.len());
    match random.random_range(0..7) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..end)),
        2 => {
            let word = WORDS[random.random_range(0..WORDS.len())];
            drop(input.splice(at..at, word.iter().copied()));
        }
        3 => {
            let repeated = input[at..end].to_vec();
            drop(input.splice(at..at, repeated));
        }
        4 => {
            let from = random.random_range(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        5 if at < input.len() => input[at] = random.random(),
        _ if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        _ => input.push(random.random()),
    }
    input.truncate(2 * LARGEST_FILE);
}
