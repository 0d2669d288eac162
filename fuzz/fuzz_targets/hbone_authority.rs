//! The destination of a tunnel: what parses is written back the same, and never means another address than it says.
#![no_main]

use fairway_hbone::Authority;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(authority) = text.parse::<Authority>() {
        assert_ne!(authority.port(), 0);
        assert_eq!(authority.to_string().parse(), Ok(authority.clone()));
        if let Some(address) = authority.address() {
            assert_eq!(address.ip(), address.ip().to_canonical());
        }
    }
});
