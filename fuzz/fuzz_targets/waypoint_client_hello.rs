#![no_main]

use fairway_fuzz_targets::waypoint::client_hello;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| client_hello(bytes));
