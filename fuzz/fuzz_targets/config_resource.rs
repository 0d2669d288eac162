//! A resource that decodes says everything its bytes say: it encodes, and decodes again to the same.
#![no_main]

use fairway_config::wire;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(resource) = wire::decode(bytes.to_vec().into()) {
        let encoded = wire::encode(&resource);
        assert_eq!(encoded.key, resource.key());
        assert_eq!(wire::decode(encoded.bytes).as_ref(), Ok(&resource));
    }
});
