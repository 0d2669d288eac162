//! What a proxy says of itself: who it is and what it holds.
#![no_main]

use fairway_config::proto::{self, FromProxy, from_proxy};
use fairway_config::stream::Subscription;
use fairway_config::wire::{ContentHash, decode_key, encode_key};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(FromProxy {
        message: Some(message),
    }) = FromProxy::decode(bytes)
    else {
        return;
    };
    match message {
        from_proxy::Message::Hello(hello) => {
            if let Ok(subscription) = Subscription::try_from(hello) {
                let again = Subscription::try_from(proto::Hello::from(&subscription));
                assert_eq!(again, Ok(subscription));
            }
        }
        from_proxy::Message::Held(held) => {
            for it in held.resources {
                let _ = ContentHash::try_from(&*it.hash);
                if let Some(Ok(key)) = it.key.as_ref().map(decode_key) {
                    assert_eq!(decode_key(&encode_key(&key)), Ok(key));
                }
            }
        }
        _ => {}
    }
});
