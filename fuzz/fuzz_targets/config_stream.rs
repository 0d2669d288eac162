//! Whatever a controller says, a proxy holds exactly what it put in force.
#![no_main]

use fairway_config::proto::FromController;
use fairway_config::stream::{Answer, Replica};
use fairway_config::{Apply, Changes, Rejected, Snapshot};
use libfuzzer_sys::fuzz_target;
use prost::Message;

#[derive(Default)]
struct Proxy {
    in_force: Snapshot,
}

impl Apply for Proxy {
    fn apply(&mut self, next: &Snapshot, changes: &Changes) -> Result<(), Vec<Rejected>> {
        // Refuses some, so that both ways are walked.
        if changes.len() % 3 == 2 {
            return Err(Vec::new());
        }
        self.in_force = next.clone();
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (mut replica, mut proxy, mut rest) = (Replica::default(), Proxy::default(), bytes);
    while let Ok(message) = FromController::decode_length_delimited(&mut rest) {
        match replica.receive(message, &mut proxy) {
            Ok(Some(Answer::Ack(generation))) => assert_eq!(replica.snapshot().generation, generation),
            Ok(_) => {}
            Err(_) => replica.disconnected(),
        }
        assert_eq!(*replica.snapshot(), proxy.in_force);
        assert_eq!(replica.held().count(), proxy.in_force.resources().count());
        if rest.is_empty() {
            break;
        }
    }
});
