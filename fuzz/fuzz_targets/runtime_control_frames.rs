#![no_main]

use fairway_fuzz_targets::runtime::control_frames;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| control_frames(bytes));
