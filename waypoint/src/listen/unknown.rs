//! A Service's port of which nobody said what it speaks: HTTP is recognized, and everything else carried as it is.
//!
//! Of protocols in which the server speaks first nothing is ever seen from the client, so there is nothing to wait for: when
//! a client is silent for a moment, an endpoint is connected, and whichever of the two speaks first decides.

use super::arrival::Arrival;
use crate::connection::{Connection, ConnectionState, Order};
use crate::l4::{Decision, L4Refusal};
use crate::pipeline::access::{PolicySet, RequestSource};
use crate::pipeline::{Origin, ServiceOrigin};
use crate::serve::{BytesFrom, Reached, reach};
use crate::stream::relay;
use crate::table::Tables;
use crate::transport::Transport;
use crate::wire::ReadAhead;
use crate::wire::{PREFACE, Version};
use bytes::Bytes;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

/// Time for the client to send its first bytes. Then the endpoint is connected to, because in some protocols the server sends first. An
/// HTTP client sends with its first round trip; a slower one costs the endpoint a connection without a request.
const SILENCE: Duration = Duration::from_millis(10);
/// Bytes of an endpoint's first message that are read at once.
const GREETING: usize = 4096;

/// The detected protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP of this version.
    Http(Version),
    /// Another protocol, which is relayed as bytes.
    Other,
}

impl Arrival {
    /// Detects the protocol and serves it.
    pub(super) async fn serve_unknown(self, mut client: Transport) {
        let (connection, mut ahead) = (self.connection.clone(), ReadAhead::default());
        let heard = tokio::select! {
            heard = listen(&connection, &mut client, &mut ahead) => Some(heard),
            () = sleep(SILENCE) => None,
            _ = connection.ordered(Order::None) => return,
        };
        let mut endpoint = None;
        let heard = match heard {
            Some(heard) => heard,
            // It has begun to say something: that is no server-first protocol.
            None if !ahead.bytes().is_empty() => tokio::select! {
                heard = listen(&connection, &mut client, &mut ahead) => heard,
                _ = connection.ordered(Order::None) => return,
            },
            None => {
                // Nobody has to hurry here.
                connection.set_state(ConnectionState::Raw);
                match self.reach_endpoint(&client).await {
                    Ok(reached) => endpoint = Some(reached),
                    // Two ends of this proxy that wait for each other would open connections without end.
                    Err(L4Refusal::Loop) => {
                        return self.relay(client, ahead, 0, Err(L4Refusal::Loop)).await;
                    }
                    Err(_) => {}
                }
                let first = tokio::select! {
                    first = greeted(&connection, &mut client, &mut ahead, &mut endpoint) => first,
                    _ = connection.ordered(Order::None) => return client.reset_on_close(),
                };
                match first {
                    First::Endpoint(greeting) => {
                        connection.set_state(ConnectionState::Raw);
                        let reached = endpoint.ok_or(L4Refusal::NoEndpoint);
                        return self.relay(client, ahead, greeting, reached).await;
                    }
                    First::Client(heard) => heard,
                }
            }
        };
        match heard {
            Ok(Some(Spoken::Http(version))) => {
                drop(endpoint);
                self.serve_version(client, version, ahead).await;
            }
            Ok(Some(Spoken::Other)) => {
                connection.set_state(ConnectionState::Raw);
                let reached = match endpoint {
                    Some(it) => Ok(it),
                    None => self.reach_endpoint(&client).await,
                };
                self.relay(client, ahead, 0, reached).await;
            }
            // It ended without a word.
            Ok(None) | Err(_) => {}
        }
    }

    async fn reach_endpoint(&self, client: &Transport) -> Result<Reached, L4Refusal> {
        let Origin::Service(origin) = &self.origin else { return Err(L4Refusal::NoBackend) };
        let serving = self.worker.serving();
        let cluster = serving.tables.service_cluster(&origin.backend).ok_or(L4Refusal::UnresolvedBackend)?;
        if !self.may_reach(origin, &serving.tables) {
            return Err(L4Refusal::Denied);
        }
        // Boxed: its state is large, and gone once there is a connection.
        let from = BytesFrom { io: client, caller: &self.caller, route: origin.backend.shared() };
        Ok(Box::pin(reach(&self.worker, &serving, from, cluster, None)).await?)
    }

    /// Whether policies let the connection be carried as bytes. It counts, and is logged, once it is carried or refused.
    fn may_reach(&self, origin: &ServiceOrigin, tables: &Tables) -> bool {
        let entry = PolicySet::at_entry(tables, &self.origin, None, &self.worker.waypoint_key);
        entry.is_open()
            || entry.lets_bytes_pass(
                tables,
                RequestSource::from_origin(&self.origin, &self.caller, self.identity.as_ref(), origin.port),
            )
    }

    /// Bytes, both ways, beginning with what the client has said already. The client has been sent `greeting` bytes.
    async fn relay(
        self,
        client: Transport,
        ahead: ReadAhead,
        greeting: usize,
        reached: Result<Reached, L4Refusal>,
    ) {
        let Origin::Service(origin) = &self.origin else { return };
        let serving = self.worker.serving();
        let mut record = self.stream_record(origin, &serving);
        let mut reached = reached;
        if let Some(cluster) = serving.tables.service_cluster(&origin.backend) {
            let decision = Decision::without_route(cluster.clone());
            record.decided(&decision);
            if let Err(undecided) = self.judge_bytes(origin, decision, &serving.tables, &mut record) {
                reached = Err(undecided.refusal);
            }
        }
        drop(serving);
        match reached {
            Ok(Reached { io: endpoint, in_flight, dialled: _dialled }) => {
                record.reached(in_flight.endpoint());
                self.worker.telemetry.counters.streams.sent(greeting);
                record.moved().sent.set(greeting as u64);
                let ahead = Bytes::copy_from_slice(ahead.bytes());
                let carried = relay(&self.worker, &self.connection, &record, client, ahead, endpoint).await;
                record.ended(carried);
            }
            Err(refusal) => {
                record.refuse(refusal);
                client.reset_on_close();
            }
        }
    }
}

/// Which side has sent the first bytes.
enum First {
    /// The endpoint, with so many bytes, which the client has.
    Endpoint(usize),
    Client(io::Result<Option<Spoken>>),
}

/// Waits for the client and the endpoint; what the endpoint says first is handed on.
async fn greeted(
    connection: &Connection,
    client: &mut Transport,
    ahead: &mut ReadAhead,
    endpoint: &mut Option<Reached>,
) -> First {
    let Some(reached) = endpoint else {
        // There is nobody it could wait for.
        connection.set_state(ConnectionState::Http1);
        return First::Client(listen(connection, client, ahead).await);
    };
    let mut greeting = [0; GREETING];
    let count = tokio::select! {
        heard = listen(connection, client, ahead) => return First::Client(heard),
        count = reached.io.read(&mut greeting) => count,
    };
    match count {
        Ok(count) if count > 0 => {
            // A client that cannot be written to is found out by the relay.
            let _ = client.write_all(greeting.get(..count).unwrap_or_default()).await;
            First::Endpoint(count)
        }
        // It does not want to wait for a client that says nothing, or broke: that is not what the client speaks.
        _ => {
            *endpoint = None;
            connection.set_state(ConnectionState::Http1);
            First::Client(listen(connection, client, ahead).await)
        }
    }
}

/// Reads as far as needed to know what is spoken; none when the client ends without a byte. What was read stays in `ahead`,
/// also when this is given up. A client that has begun has the time of a head.
async fn listen(
    connection: &Connection,
    client: &mut Transport,
    ahead: &mut ReadAhead,
) -> io::Result<Option<Spoken>> {
    loop {
        if let Some(spoken) = verdict(ahead.bytes()) {
            connection.wire_state.set_in_head(false);
            return Ok(Some(spoken));
        }
        if !ahead.bytes().is_empty() {
            connection.set_state(ConnectionState::Http1);
            connection.wire_state.set_in_head(true);
        }
        match client.read(ahead.room()).await? {
            0 if ahead.bytes().is_empty() => return Ok(None),
            0 => return Ok(Some(Spoken::Other)),
            count => ahead.add(count),
        }
    }
}

/// What the first bytes are the beginning of; none if that cannot be said yet, which no more than [`ReadAhead::MOST`] bytes leave open.
pub fn verdict(bytes: &[u8]) -> Option<Spoken> {
    if bytes == PREFACE {
        return Some(Spoken::Http(Version::Http2));
    }
    if PREFACE.starts_with(bytes) {
        return None;
    }
    // A request line: a method, a space, and a target that begins like one (RFC 9112 §3). Inline commands of other
    // protocols (`SET key`) are lines too.
    match bytes.iter().position(|it| !it.is_ascii_uppercase() && *it != b'-') {
        None if bytes.len() < ReadAhead::MOST => None,
        Some(end) if end > 0 && bytes.get(end) == Some(&b' ') => match bytes.get(end + 1) {
            None if bytes.len() < ReadAhead::MOST => None,
            Some(b'/' | b'*') => Some(Spoken::Http(Version::Http1)),
            Some(b'h' | b'H') => match is_absolute(bytes.get(end + 1..).unwrap_or_default()) {
                None if bytes.len() < ReadAhead::MOST => None,
                Some(true) => Some(Spoken::Http(Version::Http1)),
                _ => Some(Spoken::Other),
            },
            Some(_) if bytes.starts_with(b"CONNECT ") => Some(Spoken::Http(Version::Http1)),
            _ => Some(Spoken::Other),
        },
        _ => Some(Spoken::Other),
    }
}

/// Whether a target begins like a URL of HTTP; none while too little of it is there.
fn is_absolute(target: &[u8]) -> Option<bool> {
    const SCHEME: &[u8] = b"http";
    let start = target.get(..target.len().min(SCHEME.len())).unwrap_or_default();
    match SCHEME.get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start)) {
        true if start.len() < SCHEME.len() => None,
        is_absolute => Some(is_absolute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_recognized_and_nothing_else_is_taken_for_it() {
        let http = |version| Some(Spoken::Http(version));
        for (bytes, expected) in [
            (&b""[..], None),
            (b"G", None),
            (b"GET ", None),
            (b"GET /", http(Version::Http1)),
            (b"E H", None),
            (b"E HLO a\r\n", Some(Spoken::Other)),
            (b"GET htt", None),
            (b"GET http", http(Version::Http1)),
            (b"M-SEARCH * HTTP/1.1\r\n", http(Version::Http1)),
            (b"OPTIONS * HTTP/1.1\r\n", http(Version::Http1)),
            (b"GET http://a/ HTTP/1.1\r\n", http(Version::Http1)),
            (b"CONNECT a:443 HTTP/1.1\r\n", http(Version::Http1)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", None),
            (PREFACE, http(Version::Http2)),
            // TLS, PostgreSQL, Redis in both forms, SSH, MQTT, and a method that is longer than any.
            (b"\x16\x03\x01\x02", Some(Spoken::Other)),
            (b"\x00\x00\x00\x08\x04\xd2", Some(Spoken::Other)),
            (b"*1\r\n$4\r\nPING\r\n", Some(Spoken::Other)),
            (b"PING\r\n", Some(Spoken::Other)),
            (b"SET key value\r\n", Some(Spoken::Other)),
            (b"HGET hash field\r\n", Some(Spoken::Other)),
            (b"SSH-2.0-OpenSSH_9.2p1", Some(Spoken::Other)),
            (b"\x10\x0c\x00\x04MQTT", Some(Spoken::Other)),
            (&[b'A'; ReadAhead::MOST], Some(Spoken::Other)),
        ] {
            assert_eq!(verdict(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn more_bytes_never_change_what_was_said() {
        let all: [&[u8]; 5] = [
            b"GET / HTTP/1.1\r\nhost: a\r\n",
            PREFACE,
            b"SET key value\r\n",
            b"SSH-2.0-OpenSSH_9.2p1 Deb",
            b"\x16\x03\x01\x02\x00",
        ];
        for bytes in all {
            let mut said = None;
            for end in 0..=bytes.len().min(ReadAhead::MOST) {
                let now = verdict(&bytes[..end]);
                assert!(said.is_none() || said == now, "{:?}", String::from_utf8_lossy(&bytes[..end]));
                said = now;
            }
        }
    }
}
