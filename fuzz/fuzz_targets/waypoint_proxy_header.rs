#![no_main]

use fairway_fuzz_targets::waypoint::proxy_header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| proxy_header(bytes));
