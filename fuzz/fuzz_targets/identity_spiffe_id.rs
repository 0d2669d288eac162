//! A SPIFFE id: what parses has the parts that make it up again, and no byte that could hide something.
#![no_main]

use fairway_identity::SpiffeId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(id) = text.parse::<SpiffeId>() {
        let (domain, namespace, account) = (id.trust_domain(), id.namespace(), id.service_account());
        assert_eq!(format!("spiffe://{domain}/ns/{namespace}/sa/{account}"), id.as_str());
        assert!([domain, namespace, account].iter().all(|it| !it.is_empty() && !it.contains('/')));
        assert!(id.as_str().bytes().all(|it| it.is_ascii_graphic()));
    }
});
