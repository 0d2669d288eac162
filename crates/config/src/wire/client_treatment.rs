//! How listeners treat their clients, on the wire.

use crate::model::{
    CertificateHeader, ClientKeepalive, ClientLimit, ClientLimits, ClientTimeout, ClientTimeouts,
    ClientTreatment, RequestIds, Underscores,
};
use crate::proto;
use std::time::Duration;

/// Puts it into the message of its listener.
pub(super) fn encode(treatment: &ClientTreatment, listener: &mut proto::Listener) {
    let ClientTreatment { timeouts, limits, certificate_header, request_ids, underscores, keepalive } =
        treatment;
    listener.client_timeouts = (*timeouts != ClientTimeouts::default()).then(|| encode_timeouts(timeouts));
    listener.client_limits = (*limits != ClientLimits::default()).then(|| encode_limits(limits));
    listener.client_certificate_header = *certificate_header == CertificateHeader::Set;
    listener.request_ids = match request_ids {
        RequestIds::BuiltIn => proto::RequestIds::Unspecified,
        RequestIds::Keep => proto::RequestIds::Keep,
        RequestIds::Generate => proto::RequestIds::Generate,
    }
    .into();
    listener.underscores = match underscores {
        Underscores::Keep => proto::Underscores::Unspecified,
        Underscores::Drop => proto::Underscores::Drop,
        Underscores::Refuse => proto::Underscores::Refuse,
    }
    .into();
    listener.client_keepalive =
        (*keepalive != ClientKeepalive::default()).then(|| encode_keepalive(keepalive));
}

/// Reads it from the message of its listener. None for what a newer controller says: nobody can say what it asks for.
pub(super) fn decode(listener: &proto::Listener) -> Option<ClientTreatment> {
    let (timeouts, limits) = (listener.client_timeouts.as_ref(), listener.client_limits.as_ref());
    Some(ClientTreatment {
        timeouts: timeouts.map_or_else(|| Some(ClientTimeouts::default()), decode_timeouts)?,
        limits: limits.map_or_else(|| Some(ClientLimits::default()), decode_limits)?,
        certificate_header: match listener.client_certificate_header {
            true => CertificateHeader::Set,
            false => CertificateHeader::Drop,
        },
        request_ids: match proto::RequestIds::try_from(listener.request_ids).ok()? {
            proto::RequestIds::Unspecified => RequestIds::BuiltIn,
            proto::RequestIds::Keep => RequestIds::Keep,
            proto::RequestIds::Generate => RequestIds::Generate,
        },
        underscores: match proto::Underscores::try_from(listener.underscores).ok()? {
            proto::Underscores::Unspecified => Underscores::Keep,
            proto::Underscores::Drop => Underscores::Drop,
            proto::Underscores::Refuse => Underscores::Refuse,
        },
        keepalive: listener
            .client_keepalive
            .as_ref()
            .map_or_else(|| Some(ClientKeepalive::default()), decode_keepalive)?,
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
    proto::ClientLimits { connections, requests_per_connection, header_bytes, headers, streams, body_bytes }
}

fn decode_limits(message: &proto::ClientLimits) -> Option<ClientLimits> {
    let proto::ClientLimits {
        connections,
        requests_per_connection,
        header_bytes,
        headers,
        streams,
        body_bytes,
    } = *message;
    let limits =
        ClientLimits { connections, requests_per_connection, header_bytes, headers, streams, body_bytes };
    let is_allowed = |it: ClientLimit| limits.get(it).is_none_or(|value| it.range().contains(&value));
    ClientLimit::ALL.into_iter().all(is_allowed).then_some(limits)
}

fn encode_keepalive(keepalive: &ClientKeepalive) -> proto::ClientKeepalive {
    let seconds = |it: Option<Duration>| Some(u32::try_from(it?.as_secs()).unwrap_or(u32::MAX));
    let ClientKeepalive { idle, interval, probes } = *keepalive;
    proto::ClientKeepalive { idle: seconds(idle), interval: seconds(interval), probes }
}

fn decode_keepalive(message: &proto::ClientKeepalive) -> Option<ClientKeepalive> {
    let seconds = |it: Option<u32>| it.map(|it| Duration::from_secs(it.into()));
    let (idle, interval) = (seconds(message.idle), seconds(message.interval));
    Some(ClientKeepalive { idle, interval, probes: message.probes }).filter(ClientKeepalive::is_allowed)
}
