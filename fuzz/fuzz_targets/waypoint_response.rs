#![no_main]

use fairway_fuzz_targets::waypoint::response;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| response(bytes));
