#![no_main]

use fairway_fuzz_targets::controller::token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| token(bytes));
