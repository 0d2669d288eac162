#![no_main]

use fairway_fuzz_targets::hbone::headers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| headers(bytes));
