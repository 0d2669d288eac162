//! A peer's certificate, as it comes out of the handshake: no bytes panic, and what is read is an identity.
#![no_main]

use fairway_identity::{SpiffeId, peer_identity};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(id) = peer_identity(Some(&[bytes.into()])) {
        assert_eq!(id.as_str().parse::<SpiffeId>().as_ref(), Ok(&id));
    }
});
