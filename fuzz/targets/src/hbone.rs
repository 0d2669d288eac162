//! What a peer says when it opens a tunnel.

use crate::text_of;
use fairway_hbone::{Authority, Forwarded, Traceparent};

/// The destination of a tunnel: what parses is written back the same, and never means another address than it says.
pub fn authority(bytes: &[u8]) {
    if let Ok(authority) = text_of(bytes).parse::<Authority>() {
        assert_ne!(authority.port(), 0);
        assert_eq!(authority.to_string().parse(), Ok(authority.clone()));
        if let Some(address) = authority.address() {
            assert_eq!(address.ip(), address.ip().to_canonical());
        }
    }
}

/// The headers of a tunnel that are read: for whom it was opened, and its trace.
pub fn headers(bytes: &[u8]) {
    let text = text_of(bytes);
    if let Ok(forwarded) = text.parse::<Forwarded>() {
        assert_eq!(forwarded.to_string().parse(), Ok(forwarded));
    }
    if let Ok(traceparent) = text.parse::<Traceparent>() {
        assert_eq!(traceparent.as_str(), text);
    }
}
