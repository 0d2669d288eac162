#![no_main]

use fairway_fuzz_targets::waypoint::first_bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| first_bytes(bytes));
