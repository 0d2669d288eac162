//! Peers of neighbouring versions: what one of them says and the other does not know is ignored, and what it does not say is read as the
//! stricter of the two things that it could mean.

use crate::testing::{DESTINATION, Io, Pipes, connect_request, connection, echo};
use crate::{ConnectRequest, Forwarded, OpenError, Routing};
use bytes::BufMut;
use http::{HeaderName, HeaderValue, StatusCode};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

/// Everything that this version can say.
fn full() -> ConnectRequest {
    ConnectRequest {
        forwarded: Some(Forwarded { client: "10.0.0.9:5000".parse().unwrap() }),
        node: Some("n1".into()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap()),
        routing: Routing::Done,
        ..ConnectRequest::to(DESTINATION.parse::<SocketAddr>().unwrap())
    }
}

/// The request as it is read when these headers replace those of their names. One without a value is left out.
fn read(request: &ConnectRequest, headers: &[(&'static str, Option<&'static str>)]) -> ConnectRequest {
    let (mut parts, ()) = request.to_http().unwrap().into_parts();
    for (name, value) in headers {
        let name = HeaderName::from_static(name);
        match value {
            Some(value) => drop(parts.headers.insert(name, HeaderValue::from_static(value))),
            None => drop(parts.headers.remove(name)),
        }
    }
    ConnectRequest::from_http(&parts).unwrap()
}

#[test]
fn a_header_that_is_not_known_changes_nothing() {
    let newer: [(&str, Option<&str>); 6] = [
        ("x-fairway-routing-policy", Some("done")),
        ("x-fairway-client", Some("10.6.6.6:1")),
        ("x-forwarded-for", Some("10.6.6.6")),
        ("x-fairway-peer", Some("spiffe://cluster.local/ns/bank/sa/teller")),
        ("baggage", Some("routing=done")),
        ("x-fairway-version", Some("99")),
    ];
    for request in [full(), connect_request()] {
        for header in newer {
            assert_eq!(read(&request, &[header]), request, "{header:?}");
        }
        assert_eq!(read(&request, &newer), request);
    }
}

#[test]
fn what_a_peer_does_not_say_or_says_in_a_new_way_is_read_as_the_stricter() {
    let full = full();
    let pending = ConnectRequest { routing: Routing::Pending, ..full.clone() };
    let of_nobody = ConnectRequest { forwarded: None, ..full.clone() };
    let of_no_node = ConnectRequest { node: None, ..full.clone() };
    let of_no_trace = ConnectRequest { traceparent: None, ..full.clone() };
    let cases: [(&str, Option<&str>, &ConnectRequest); 13] = [
        // Routes are still to be applied, and so are their policies.
        ("x-fairway-routing", None, &pending),
        ("x-fairway-routing", Some(""), &pending),
        ("x-fairway-routing", Some("partly"), &pending),
        ("x-fairway-routing", Some("done; by=edge/public"), &pending),
        ("x-fairway-routing", Some("2"), &pending),
        // The client is not known; it is not the one of another element or of another form.
        ("forwarded", None, &of_nobody),
        ("forwarded", Some("for=\"10.0.0.9:5000\", for=\"10.6.6.6:1\""), &of_nobody),
        ("forwarded", Some("for=_hidden"), &of_nobody),
        ("forwarded", Some("for2=\"10.6.6.6:1\""), &of_nobody),
        // A parameter that is not known leaves the client as it is.
        ("forwarded", Some("for=\"10.0.0.9:5000\";secret=1;proto=https"), &full),
        ("x-fairway-node", None, &of_no_node),
        ("traceparent", None, &of_no_trace),
        ("traceparent", Some("01-x"), &of_no_trace),
    ];
    for (name, value, expected) in cases {
        assert_eq!(read(&full, &[(name, value)]), *expected, "{name}: {value:?}");
    }
    let names = ["x-fairway-routing", "forwarded", "x-fairway-node", "traceparent"].map(|name| (name, None));
    assert_eq!(read(&full, &names), connect_request(), "the first version said nothing but where to");
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_uint(payload.len() as u64, 3);
    frame.put_u8(kind);
    frame.put_u8(flags);
    frame.put_u32(stream);
    frame.put_slice(payload);
    frame
}

/// Settings of which one is not known, and frames of a kind that is not known, on the connection and on a stream.
fn unknown() -> Vec<u8> {
    let mut setting = Vec::new();
    setting.put_u16(0xfafa);
    setting.put_u32(1);
    [frame(SETTINGS, 0, 0, &setting), frame(0xfa, 0, 0, b"new"), frame(0xfa, 0xff, 1, b"newer")].concat()
}

/// A field that is not indexed (RFC 7541 §6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        field.put_u8(u8::try_from(text.len()).unwrap());
        field.put_slice(text.as_bytes());
    }
    field
}

/// The payload of the first frame of a kind, and what comes behind the frame.
async fn first(io: &mut (impl AsyncRead + Unpin), wanted: u8) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        io.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        io.read_exact(&mut payload).await.unwrap();
        if head[3] == wanted {
            return payload;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_of_a_newer_version_opens_a_tunnel() {
    let test = async {
        let (mut io, _serving, _trigger) = connection(echo).await;
        let mut said = PREFACE.to_vec();
        said.extend(frame(SETTINGS, 0, 0, b""));
        said.extend(unknown());
        let fields = [
            field(":method", "CONNECT"),
            field(":authority", DESTINATION),
            field("x-fairway-new", "1"),
            field("x-fairway-routing", "newer than done"),
        ];
        said.extend(frame(HEADERS, END_HEADERS, 1, &fields.concat()));
        said.extend(frame(0xfa, 0, 1, b"newest"));
        said.extend(frame(DATA, 0, 1, b"hello"));
        io.write_all(&said).await.unwrap();
        // `:status: 200` is entry 8 of the static table.
        assert_eq!(first(&mut io, HEADERS).await.first(), Some(&0x88));
        assert_eq!(first(&mut io, DATA).await, b"hello");
    };
    LocalSet::new().run_until(test).await;
}

/// Answers a tunnel with a status, settings, frames and headers that the client does not know, and bytes.
async fn serve_newer(mut io: Box<dyn Io>, status: StatusCode) {
    io.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
    io.write_all(&unknown()).await.unwrap();
    first(&mut io, HEADERS).await;
    let fields = [field(":status", status.as_str()), field("x-fairway-new", "1")].concat();
    let answer = [frame(HEADERS, END_HEADERS, 1, &fields), frame(DATA, END_STREAM, 1, b"hello")].concat();
    io.write_all(&answer).await.unwrap();
    let _ = io.read_to_end(&mut Vec::new()).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_of_a_newer_version_opens_a_tunnel_by_200_and_by_nothing_else() {
    for status in [200, 201, 204, 299, 421, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        let test = async {
            let (pool, client, target) = Pipes::to(move |io| serve_newer(io, status));
            let opened = pool.open(&client, &target, &connect_request()).await;
            match opened {
                Ok(mut tunnel) => {
                    assert_eq!(status, StatusCode::OK);
                    let mut heard = String::new();
                    tunnel.read_to_string(&mut heard).await.unwrap();
                    assert_eq!(heard, "hello");
                }
                Err(OpenError::Refused { status: refused, .. }) => {
                    assert_eq!(refused, status);
                    assert_ne!(status, StatusCode::OK);
                }
                Err(error) => panic!("{status}: {error}"),
            }
        };
        LocalSet::new().run_until(test).await;
    }
}
