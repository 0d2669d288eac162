//! What a client speaks, by its first bytes: more of them never change what was said, and in the end something is said.
#![no_main]

use fairway_waypoint::listen::unknown::verdict;
use fairway_waypoint::listen::wire::Ahead;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = bytes.get(..Ahead::MOST).unwrap_or(bytes);
    let mut said = None;
    for end in 0..=bytes.len() {
        let now = verdict(&bytes[..end]);
        assert!(said.is_none() || said == now);
        said = now;
    }
    assert!(said.is_some() || bytes.len() < Ahead::MOST);
});
