#![no_main]

use fairway_fuzz_targets::identity::peer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| peer(bytes));
