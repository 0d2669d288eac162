//! The controller's answers: no bytes panic, and roots that are taken are some.
#![no_main]

use fairway_identity::wire::IssueResponse;
use fairway_identity::{Issued, TrustBundle, wire};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(issued) = IssueResponse::decode(bytes).map(Issued::try_from) {
        assert!(
            issued.is_err() || issued.is_ok_and(|it| !it.chain.is_empty() && !it.bundle.roots.is_empty())
        );
    }
    if let Ok(Ok(bundle)) = wire::Bundle::decode(bytes).map(TrustBundle::try_from) {
        assert!(!bundle.roots.is_empty());
        assert_eq!(TrustBundle::try_from(wire::Bundle::from(&bundle)), Ok(bundle));
    }
});
