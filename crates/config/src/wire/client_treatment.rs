//! How listeners treat their clients, on the wire.

use crate::model::{ClientLimit, ClientLimits, ClientTimeout, ClientTimeouts, ClientTreatment};
use crate::proto;
use std::time::Duration;

/// Puts it into the message of its listener.
pub(super) fn encode(treatment: &ClientTreatment, listener: &mut proto::Listener) {
    let ClientTreatment { timeouts, limits } = treatment;
    listener.client_timeouts = (*timeouts != ClientTimeouts::default()).then(|| encode_timeouts(timeouts));
    listener.client_limits = (*limits != ClientLimits::default()).then(|| encode_limits(limits));
}

/// Reads it from the message of its listener. None for what a newer controller says: nobody can say what it asks for.
pub(super) fn decode(listener: &proto::Listener) -> Option<ClientTreatment> {
    let (timeouts, limits) = (listener.client_timeouts.as_ref(), listener.client_limits.as_ref());
    Some(ClientTreatment {
        timeouts: timeouts.map_or_else(|| Some(ClientTimeouts::default()), decode_timeouts)?,
        limits: limits.map_or_else(|| Some(ClientLimits::default()), decode_limits)?,
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

fn encode_limits(limits: &ClientLimits) -> proto::ClientLimits {
    let ClientLimits { connections, requests_per_connection, header_bytes, headers, streams, body_bytes } =
        *limits;
    proto::ClientLimits {
        connections,
        requests_per_connection,
        header_bytes,
        headers,
        streams,
        body_bytes,
    }
}

fn decode_limits(message: &proto::ClientLimits) -> Option<ClientLimits> {
    let proto::ClientLimits { connections, requests_per_connection, header_bytes, headers, streams, body_bytes } =
        *message;
    let limits =
        ClientLimits { connections, requests_per_connection, header_bytes, headers, streams, body_bytes };
    let is_allowed = |it: ClientLimit| limits.get(it).is_none_or(|value| it.range().contains(&value));
    ClientLimit::ALL.into_iter().all(is_allowed).then_some(limits)
}
