//! The headers of a tunnel that are read: for whom it was opened, and its trace.
#![no_main]

use fairway_hbone::{Forwarded, Traceparent};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(forwarded) = text.parse::<Forwarded>() {
        assert_eq!(forwarded.to_string().parse(), Ok(forwarded));
    }
    if let Ok(traceparent) = text.parse::<Traceparent>() {
        assert_eq!(traceparent.as_str(), text);
    }
});
