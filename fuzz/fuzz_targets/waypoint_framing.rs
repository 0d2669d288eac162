#![no_main]

use fairway_fuzz_targets::waypoint::framing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| framing(bytes));
