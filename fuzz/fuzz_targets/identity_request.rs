//! A proxy's certificate request: no bytes panic, and what is taken is a key on P-256.
#![no_main]

use fairway_identity::read_request;
use libfuzzer_sys::fuzz_target;
use rcgen::PublicKeyData;

fuzz_target!(|bytes: &[u8]| {
    let Ok(id) = "spiffe://cluster.local/ns/shop/sa/web".parse() else { return };
    if let Ok(key) = read_request(bytes, &id) {
        assert_eq!(key.der_bytes().len(), 65);
    }
});
