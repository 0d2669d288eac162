//! HTTP/1 framing as the proxy watches it: the verdict does not depend on where reads end, and nothing panics.
#![no_main]

use fairway_waypoint::listen::framing::Framing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    let mut whole = Framing::new();
    whole.watch(bytes);
    let mut pieces = Framing::new();
    for piece in bytes.chunks(usize::from(step).max(1)) {
        pieces.watch(piece);
    }
    assert_eq!(whole.verdict(), pieces.verdict());
    assert_eq!(whole.in_head(), pieces.in_head());
});
