#![no_main]

use fairway_fuzz_targets::identity::spiffe_id;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| spiffe_id(bytes));
