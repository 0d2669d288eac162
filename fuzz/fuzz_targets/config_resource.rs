#![no_main]

use fairway_fuzz_targets::config::resource;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| resource(bytes));
