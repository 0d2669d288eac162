#![no_main]

use fairway_fuzz_targets::ztunnel::cni;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| cni(bytes));
