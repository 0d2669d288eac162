//! The kept configuration, with a right hash so that what is behind it is reached too.
#![no_main]

use fairway_config::stream::{Proxy, disk};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let _ = disk::parse(Path::new("state"), &Proxy::Everything, bytes);
    if let Ok(saved) = disk::parse(Path::new("state"), &Proxy::Everything, &disk::seal(bytes)) {
        assert!(saved.snapshot.resources().count() <= saved.hashes.len());
    }
});
