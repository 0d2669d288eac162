//! How listeners treat their clients, on the wire.

use crate::model::{ClientTimeout, ClientTimeouts, ClientTreatment};
use crate::proto;
use std::time::Duration;

/// Puts it into the message of its listener.
pub(super) fn encode(treatment: &ClientTreatment, listener: &mut proto::Listener) {
    let ClientTreatment { timeouts } = treatment;
    listener.client_timeouts = (*timeouts != ClientTimeouts::default()).then(|| encode_timeouts(timeouts));
}

/// Reads it from the message of its listener. None for what a newer controller says: nobody can say what it asks for.
pub(super) fn decode(listener: &proto::Listener) -> Option<ClientTreatment> {
    let timeouts = listener.client_timeouts.as_ref().map(decode_timeouts);
    Some(ClientTreatment {
        timeouts: match timeouts {
            Some(it) => it?,
            None => ClientTimeouts::default(),
        },
    })
}

fn encode_timeouts(timeouts: &ClientTimeouts) -> proto::ClientTimeouts {
    let seconds = |it| Some(u32::try_from(timeouts.get(it)?.as_secs()).unwrap_or(u32::MAX));
    proto::ClientTimeouts {
        handshake: seconds(ClientTimeout::Handshake),
        request_headers: seconds(ClientTimeout::RequestHeaders),
        request_body: seconds(ClientTimeout::RequestBody),
        idle: seconds(ClientTimeout::Idle),
        stream_idle: seconds(ClientTimeout::StreamIdle),
    }
}

fn decode_timeouts(message: &proto::ClientTimeouts) -> Option<ClientTimeouts> {
    let mut timeouts = ClientTimeouts::default();
    for (timeout, seconds) in [
        (ClientTimeout::Handshake, message.handshake),
        (ClientTimeout::RequestHeaders, message.request_headers),
        (ClientTimeout::RequestBody, message.request_body),
        (ClientTimeout::Idle, message.idle),
        (ClientTimeout::StreamIdle, message.stream_idle),
    ] {
        let wanted = seconds.map(|it| Duration::from_secs(it.into()));
        if wanted.is_some_and(|it| !timeout.allows(it)) {
            return None;
        }
        *timeouts.get_mut(timeout) = wanted;
    }
    Some(timeouts)
}
