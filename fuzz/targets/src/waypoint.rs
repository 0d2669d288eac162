//! What clients of a Gateway and endpoints behind it say.

use crate::text_of;
use fairway_config::model::normalised_path;
use fairway_policy::CidrSet;
use fairway_waypoint::address::forwarded_for::walk;
use fairway_waypoint::address::proxy_protocol::{BadHeader, HeaderReader, LONGEST_BLOCK, ProxyHeader};
use fairway_waypoint::host::normalise_host;
use fairway_waypoint::listen::hello::HelloReader;
use fairway_waypoint::listen::unknown::verdict;
use fairway_waypoint::pipeline::{Handshake, strip_response, translate};
use fairway_waypoint::wire::Framing;
use fairway_waypoint::wire::ReadAhead;
use fairway_waypoint::wire::Version;
use h2::ext::Protocol;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use rustls::server::Acceptor;
use std::net::IpAddr;

/// A TLS client's first message: what is read of it does not depend on where reads end, and is what rustls reads.
///
/// The input: the length of reads, then the message.
pub fn client_hello(input: &[u8]) {
    let [step, bytes @ ..] = input else { return };
    let whole = HelloReader::default().read(bytes);
    let step = usize::from(*step).max(1);
    let (mut pieces, mut end) = (HelloReader::default(), 0);
    let in_pieces = loop {
        end = (end + step).min(bytes.len());
        match pieces.read(&bytes[..end]) {
            Ok(None) if end < bytes.len() => {}
            other => break other,
        }
    };
    assert_eq!(whole, in_pieces);
    let Ok(Some(hello)) = whole else { return };
    assert!(hello.server_name.as_ref().is_none_or(|it| !it.bytes().any(|byte| byte.is_ascii_uppercase())));
    let (mut acceptor, mut rest) = (Acceptor::default(), bytes);
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest).is_err() {
            return;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                return assert_eq!(accepted.client_hello().server_name(), hello.server_name.as_deref());
            }
            // It looks at more than the name.
            Err(_) => return,
        }
    }
}

/// A header of the PROXY protocol: what is read does not depend on where reads end, it has an end, and what follows it is left.
///
/// The input: the length of reads, then the header and what follows.
pub fn proxy_header(input: &[u8]) {
    let [step, bytes @ ..] = input else { return };
    let (whole, taken) = read_header(bytes, usize::MAX);
    let (in_pieces, taken_in_pieces) = read_header(bytes, usize::from(*step).max(1));
    assert_eq!(whole, in_pieces);
    assert!(taken <= LONGEST_BLOCK);
    if whole.is_ok() {
        assert_eq!(taken, taken_in_pieces);
    }
    if let Ok(Some(header)) = whole {
        // Nothing of what follows has a say.
        assert_eq!(read_header(&bytes[..taken], usize::MAX), (Ok(Some(header)), taken));
        if let ProxyHeader::Client(address) = header {
            assert_eq!(address, address.to_canonical());
        }
    }
}

/// What a header says, and how many bytes were taken for it.
fn read_header(bytes: &[u8], step: usize) -> (Result<Option<ProxyHeader>, BadHeader>, usize) {
    let (mut reader, mut taken) = (HeaderReader::default(), 0);
    loop {
        let there = step.min(bytes.len() - taken);
        if there == 0 {
            return (Ok(None), taken);
        }
        match reader.take(&bytes[taken..taken + there]) {
            Ok((count, header)) => {
                assert!(count == there || count < there && header.is_some());
                taken += count;
                if header.is_some() {
                    return (Ok(header), taken);
                }
            }
            Err(error) => return (Err(error), taken),
        }
    }
}

/// The list of X-Forwarded-For, in lines: one line or many are one list, and what is found is the peer or stands there.
pub fn forwarded_for(input: &[u8]) {
    let trusted: CidrSet = ["10.0.0.0/8", "fd00::/8"].iter().filter_map(|it| it.parse().ok()).collect();
    let peer: IpAddr = [10, 0, 0, 1].into();
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let found = walk(peer, &trusted, lines.iter().copied());
    assert_eq!(found, found.to_canonical());
    assert_eq!(found, walk(peer, &trusted, std::iter::once(&*lines.join(&b','))));
    // Whatever a client says before a proxy has added where it is.
    let stranger: IpAddr = [203, 0, 113, 7].into();
    let added = [input, b",203.0.113.7, 10.0.0.2"].concat();
    assert_eq!(walk(peer, &trusted, added.split(|byte| *byte == b'\n')), stranger);
}

/// What a client speaks, by its first bytes: more of them never change what was said, and in the end something is said.
pub fn first_bytes(bytes: &[u8]) {
    let bytes = bytes.get(..ReadAhead::MOST).unwrap_or(bytes);
    let mut said = None;
    for end in 0..=bytes.len() {
        let now = verdict(&bytes[..end]);
        assert!(said.is_none() || said == now);
        said = now;
    }
    assert!(said.is_some() || bytes.len() < ReadAhead::MOST);
}

/// HTTP/1 framing as the proxy watches it: the verdict does not depend on where reads end.
///
/// The input: the length of reads, then what a client says.
pub fn framing(input: &[u8]) {
    let [step, bytes @ ..] = input else { return };
    let mut whole = Framing::new();
    whole.watch(bytes);
    let mut pieces = Framing::new();
    for piece in bytes.chunks(usize::from(*step).max(1)) {
        pieces.watch(piece);
    }
    assert_eq!(whole.verdict(), pieces.verdict());
    assert_eq!(whole.in_head(), pieces.in_head());
}

/// A request's target and Host as routes see them: what is taken is in one form, and that form is its own.
///
/// The input: the path in the first line, the host in the second.
pub fn head(input: &[u8]) {
    let (path, host) = text_of(input).split_once('\n').unwrap_or((text_of(input), ""));
    if let Some(once) = normalised_path(path) {
        let twice = normalised_path(&once).expect("what was taken is taken again");
        assert_eq!(once, twice);
        assert!(!once.split('/').any(|segment| segment == ".." || segment == "."));
    }
    if let Ok(host) = normalise_host(host) {
        assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'/' || byte == b'@'));
    }
}

/// A request's head on its way to an endpoint: it leaves HTTP for a WebSocket only, and bears nothing of the connection it
/// came on.
///
/// The input is text: `1` or `2` for the client's version of HTTP, the same for the endpoint's, the method and the target in
/// one line, and a header in each line after it. A CONNECT over HTTP/2 is for a WebSocket.
pub fn rewritten(input: &[u8]) {
    let Some((from, to, parts)) = request_of(text_of(input)) else { return };
    let (path, headers) = (parts.uri.path().to_owned(), parts.headers.clone());
    let is_connect = parts.method == "CONNECT";
    let Ok(translated) = translate(parts, from, to) else { return };
    let got = &translated.parts.headers;
    if translated.upgrades {
        assert_eq!(to, Version::Http1);
        assert_eq!(translated.parts.method, "GET");
        assert!(got.get_all("upgrade").iter().eq(["websocket"]));
        // A handshake has no body, whatever the client says.
        assert!(got.get_all("content-length").iter().all(|it| it == "0"));
        let asked = headers.get_all("upgrade").iter().flat_map(|it| it.as_bytes().split(|it| *it == b','));
        let is_asked = asked.into_iter().any(|it| it.trim_ascii().eq_ignore_ascii_case(b"websocket"));
        assert!(is_connect || from == Version::Http1 && is_asked);
    } else {
        assert!(!got.contains_key("upgrade"));
    }
    for name in ["http2-settings", "transfer-encoding", "keep-alive", "proxy-connection"] {
        assert!(!got.contains_key(name), "{name}");
    }
    for name in got.keys().map(|it| it.as_str().replace('_', "-")) {
        assert!(!name.starts_with("x-forwarded") && name != "forwarded" && name != "x-real-ip", "{name}");
    }
    if from == Version::Http2 {
        assert!(got.get_all("content-length").iter().count() <= 1);
        assert!(got.values().all(|it| it.as_bytes().trim_ascii() == it.as_bytes()));
    }
    if is_connect {
        assert!(!got.contains_key("content-length") && !got.contains_key("trailer"));
    }
    assert!(to == Version::Http1 || !got.contains_key("connection"));
    assert_eq!(translated.parts.uri.path(), if path.is_empty() { "/" } else { &path });
}

/// The head of a response on its way to a client: one way is left to read where the body ends, and nothing of the connection.
///
/// The input is text: `1` or `2` for the endpoint's version of HTTP and the status in one line, and a header in each line after
/// it.
pub fn response(input: &[u8]) {
    let mut lines = text_of(input).split('\n');
    let Some((from, status)) = lines.next().and_then(|it| it.split_once(' ')) else { return };
    let (Some(from), Ok(status)) = (version(from), status.parse::<u16>()) else { return };
    let Ok(status) = StatusCode::from_u16(status) else { return };
    let Some(mut headers) = headers_of(lines, from) else { return };
    let before = headers.clone();
    if strip_response(&mut headers, status, from).is_err() {
        return;
    }
    let lengths: Vec<&HeaderValue> = headers.get_all("content-length").iter().collect();
    assert!(lengths.len() <= 1);
    for length in lengths {
        let digits = length.to_str().expect("digits");
        assert!(!digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit()), "{digits}");
        assert_ne!(status, StatusCode::NO_CONTENT);
        assert!(from == Version::Http2 || !before.contains_key("transfer-encoding"));
    }
    if from == Version::Http1 {
        for name in ["transfer-encoding", "connection", "keep-alive", "upgrade", "proxy-connection"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        let named = before.get_all("connection").iter().flat_map(|it| it.as_bytes().split(|it| *it == b','));
        // Those that say what a message is are not of the connection, whoever says so.
        let named = named.filter_map(|it| HeaderName::from_bytes(it.trim_ascii()).ok());
        for name in named.filter(|it| it.as_str().starts_with("x-")) {
            assert!(!headers.contains_key(&name), "{name} is of the connection");
        }
    }
    // Nothing is made up.
    assert!(headers.keys().all(|it| before.contains_key(it)));
}

/// A WebSocket handshake: an endpoint completes it by the one proof of the one key, and without the key nothing does.
///
/// The input: headers of the request, an empty line, headers of the response.
pub fn websocket(input: &[u8]) {
    let (request, response) = text_of(input).split_once("\n\n").unwrap_or((text_of(input), ""));
    let (Some(request), Some(response)) = (
        headers_of(request.split('\n'), Version::Http1),
        headers_of(response.split('\n').filter(|it| !it.is_empty()), Version::Http1),
    ) else {
        return;
    };
    let opened = |headers: &HeaderMap| Handshake::opened_by(&Method::GET, http::Version::HTTP_11, headers);
    let Some(handshake) = opened(&request) else { return };
    assert!(request.get_all("sec-websocket-key").iter().count() == 1);
    assert!(request.contains_key("connection") && request.contains_key("upgrade"));
    if handshake.is_completed_by(&response) {
        assert_eq!(response.get_all("upgrade").iter().count(), 1);
        let accepted = response.get("sec-websocket-accept").expect("the proof");
        assert_eq!(accepted.as_bytes().trim_ascii().len(), 28);
        let mut without = response.clone();
        without.remove("sec-websocket-accept");
        assert!(!handshake.is_completed_by(&without));
    }
    for name in ["sec-websocket-key", "sec-websocket-version", "upgrade", "connection"] {
        let mut without = request.clone();
        without.remove(name);
        assert_eq!(opened(&without), None, "without {name}");
    }
}

fn version(text: &str) -> Option<Version> {
    match text {
        "1" => Some(Version::Http1),
        "2" => Some(Version::Http2),
        _ => None,
    }
}

/// A header in each line. HTTP/1 takes the blanks around a value off.
fn headers_of<'t>(lines: impl Iterator<Item = &'t str>, version: Version) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines.take(200) {
        let (name, value) = line.split_once(':')?;
        let value = if version == Version::Http1 { value.trim_matches([' ', '\t']) } else { value };
        headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    Some(headers)
}

fn request_of(text: &str) -> Option<(Version, Version, Parts)> {
    let mut lines = text.split('\n');
    let mut words = lines.next()?.split(' ');
    let (from, to) = (version(words.next()?)?, version(words.next()?)?);
    let request = Request::builder().method(words.next()?).uri(words.next()?);
    let (mut parts, ()) = request.body(()).ok()?.into_parts();
    parts.version = if from == Version::Http2 { http::Version::HTTP_2 } else { http::Version::HTTP_11 };
    parts.headers = headers_of(lines, from)?;
    if (from, &parts.method) == (Version::Http2, &Method::CONNECT) {
        parts.extensions.insert(Protocol::from_static("websocket"));
    }
    Some((from, to, parts))
}
