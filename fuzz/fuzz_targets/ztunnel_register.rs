//! A request at the registration socket.
#![no_main]

use fairway_ztunnel::registration::{Request, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(ask) = parse(bytes) {
        if let Request::Add { netns, namespace, name, .. } = &ask {
            assert!(netns.is_absolute() && !namespace.contains('/') && !name.contains('/'));
        }
        let written = serde_json::to_vec(&ask).expect("what was parsed can be written");
        assert_eq!(parse(&written), Ok(ask));
    }
});
