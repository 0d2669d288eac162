#![no_main]

use fairway_fuzz_targets::ztunnel::register;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| register(bytes));
