#![no_main]

use fairway_fuzz_targets::waypoint::forwarded_for;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| forwarded_for(bytes));
