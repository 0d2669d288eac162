//! The configuration stream between the controller and a proxy, and what a proxy keeps of it.

use fairway_config::proto::{self, FromController, FromProxy, from_proxy};
use fairway_config::stream::{CommitResponse, Proxy, Replica, Subscription, disk};
use fairway_config::wire::{self, ContentHash, decode_key, encode_key};
use fairway_config::{Apply, Changes, Rejected, Snapshot};
use prost::Message;
use std::path::Path;

/// What a proxy says of itself: who it is and what it holds.
pub fn hello(bytes: &[u8]) {
    let Ok(FromProxy { message: Some(message) }) = FromProxy::decode(bytes) else {
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
}

/// A resource that decodes says everything its bytes say: it encodes, and decodes again to the same.
pub fn resource(bytes: &[u8]) {
    if let Ok(resource) = wire::decode(bytes.to_vec().into()) {
        let encoded = wire::encode(&resource);
        assert_eq!(encoded.key, resource.key());
        assert_eq!(wire::decode(encoded.bytes).as_ref(), Ok(&resource));
    }
}

/// The kept configuration, with a right hash so that what is behind it is reached too.
pub fn saved(bytes: &[u8]) {
    let _ = disk::parse(Path::new("state"), &Proxy::Everything, bytes);
    if let Ok(saved) = disk::parse(Path::new("state"), &Proxy::Everything, &disk::seal(bytes)) {
        assert!(saved.snapshot.resources().count() <= saved.hashes.len());
    }
}

/// Whatever a controller says, a proxy holds exactly what it put in force.
pub fn stream(bytes: &[u8]) {
    let (mut replica, mut proxy, mut rest) = (Replica::default(), Applied::default(), bytes);
    while let Ok(message) = FromController::decode_length_delimited(&mut rest) {
        match replica.receive(message, &mut proxy) {
            Ok(Some(CommitResponse::Ack(generation))) => {
                assert_eq!(replica.snapshot().generation, generation)
            }
            Ok(_) => {}
            Err(_) => replica.disconnected(),
        }
        assert_eq!(*replica.snapshot(), proxy.in_force);
        assert_eq!(replica.held().count(), proxy.in_force.resources().count());
        if rest.is_empty() {
            break;
        }
    }
}

#[derive(Default)]
struct Applied {
    in_force: Snapshot,
}

impl Apply for Applied {
    fn apply(&mut self, next: &Snapshot, changes: &Changes) -> Result<(), Vec<Rejected>> {
        // Refuses some, so that both ways are walked.
        if changes.len() % 3 == 2 {
            return Err(Vec::new());
        }
        self.in_force = next.clone();
        Ok(())
    }
}
