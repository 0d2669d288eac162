//! Recognizes kubelet's probes: whether a connection from the node carries a probe of the pod's own spec and nothing else.
//!
//! Kubelet sends requests for anyone who can write a pod's spec. The author chooses a probe's `host`, path and headers, and the host
//! may be another pod. Therefore the request that reaches the application is generated from the spec of its own pod. Only kubelet's
//! version is taken from the connection.

use fairway_config::model::{HttpProbe, ProbeAction};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::net::SocketAddr;

/// Bytes of the longest request head.
pub const HEAD_LIMIT: usize = 16 << 10;
const HEADER_LIMIT: usize = 64;
/// Bytes of client input that a log message repeats at most.
const EXCERPT_LIMIT: usize = 128;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The content type of a TLS record that holds a ClientHello (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// What a connection has requested so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeRequest {
    /// More bytes are needed.
    Incomplete,
    /// Nothing: the connection was opened and closed, and the spec has a TCP probe.
    Connect,
    /// The request of an HTTP probe of the spec.
    Http {
        /// The complete request head for the application, generated from the spec.
        head: Vec<u8>,
    },
    /// HTTP/2, and the spec has a gRPC probe. [`health_check`] decides about the call.
    Grpc,
    /// A TLS handshake, and the spec has a probe over TLS. The bytes inside TLS have to be classified in turn.
    Tls,
    /// Anything that is not a probe of the spec.
    Refused(ProbeRefusal),
}

/// Why a connection from the node is not treated as a probe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its node {asked}, and the pod's spec has kubelet ask {spec}")]
pub struct ProbeRefusal {
    asked: String,
    spec: String,
}

/// Classifies the first bytes of a connection. `probes` are the probes of the port. `is_over` means that no more bytes will come;
/// the result is then never [`ProbeRequest::Incomplete`].
pub fn classify(
    probes: &[ProbeAction],
    destination: SocketAddr,
    bytes: &[u8],
    is_over: bool,
) -> ProbeRequest {
    let refused = |asked: String| ProbeRequest::Refused(ProbeRefusal::new(probes, asked));
    let Some(first) = bytes.first() else {
        return match (is_over, probes.contains(&ProbeAction::Connect)) {
            (false, _) => ProbeRequest::Incomplete,
            (true, true) => ProbeRequest::Connect,
            (true, false) => refused("has asked nothing".to_owned()),
        };
    };
    if *first == TLS_HANDSHAKE {
        return if https(probes).next().is_some() {
            ProbeRequest::Tls
        } else {
            refused("speaks TLS".to_owned())
        };
    }
    let is_grpc = || probes.iter().any(|it| matches!(it, ProbeAction::Grpc { .. }));
    if is_grpc() && (bytes.starts_with(PREFACE) || PREFACE.starts_with(bytes)) {
        return match (bytes.starts_with(PREFACE), is_over) {
            (true, _) => ProbeRequest::Grpc,
            (false, false) => ProbeRequest::Incomplete,
            (false, true) => refused("has not finished what it asks".to_owned()),
        };
    }
    if http(probes).next().is_none() {
        return refused(format!("says {}", excerpt(bytes)));
    }
    match request(probes, destination, bytes) {
        Ok(Some(head)) => ProbeRequest::Http { head },
        Ok(None) if is_over => refused("has not finished what it asks".to_owned()),
        Ok(None) if bytes.len() >= HEAD_LIMIT => refused(format!("asks with more than {HEAD_LIMIT} bytes")),
        Ok(None) => ProbeRequest::Incomplete,
        Err(asked) => refused(asked),
    }
}

/// Checks that a gRPC call is a health check of the spec, and returns the message for the application.
pub fn health_check(
    probes: &[ProbeAction],
    method: &Method,
    path: &str,
    message: &[u8],
) -> Result<Vec<u8>, ProbeRefusal> {
    let refused = |asked: String| Err(ProbeRefusal::new(probes, asked));
    if method != Method::POST || path != HEALTH_CHECK {
        return refused(format!("asks {} {}", excerpt(method.as_str().as_bytes()), excerpt(path.as_bytes())));
    }
    let services = probes.iter().filter_map(|it| match it {
        ProbeAction::Grpc { service } => Some(service),
        ProbeAction::Connect | ProbeAction::Http(_) => None,
    });
    let mut messages = services.map(|it| health_check_request(it));
    match messages.find(|it| it == message) {
        Some(message) => Ok(message),
        None => refused("asks for the health of another service".to_owned()),
    }
}

/// The request head for the application. `None` while the client's head is incomplete.
fn request(probes: &[ProbeAction], destination: SocketAddr, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADER_LIMIT];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("says {}, which is no request ({error})", excerpt(bytes))),
    };
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    let headers = headers_of(parsed.headers).ok_or("asks with a header that is none")?;
    let hosts: Vec<&HeaderValue> = headers.get_all(header::HOST).iter().collect();
    let [host] = hosts[..] else { return Err(format!("asks with {} Host headers", hosts.len())) };
    let asks = || {
        let (method, target) = (excerpt(method.as_bytes()), excerpt(target.as_bytes()));
        format!("asks {method} {target} of host {}", excerpt(host.as_bytes()))
    };
    if method != "GET" || parsed.version != Some(1) {
        return Err(asks());
    }
    let matching = http(probes).filter(|it| *it.target == *target && is_host(it, destination, host));
    // Two probes may differ only in their headers.
    let Some(probe) = matching.max_by_key(|it| matching_headers(it, &headers)) else { return Err(asks()) };
    for not_of_a_probe in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE, header::EXPECT]
    {
        if headers.contains_key(&not_of_a_probe) {
            return Err(format!("{} with {not_of_a_probe}", asks()));
        }
    }
    if bytes.len() > length {
        return Err(format!("{} and goes on", asks()));
    }
    Ok(Some(head(probe, destination, headers.get(header::USER_AGENT))))
}

fn headers_of(parsed: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for it in parsed {
        let name = HeaderName::from_bytes(it.name.as_bytes()).ok()?;
        headers.try_append(name, HeaderValue::from_bytes(it.value).ok()?).ok()?;
    }
    Some(headers)
}

/// Whether the Host header is the spec's, or else the pod's address and port.
fn is_host(probe: &HttpProbe, destination: SocketAddr, host: &HeaderValue) -> bool {
    match &probe.host {
        Some(expected) => expected.as_bytes().eq_ignore_ascii_case(host.as_bytes()),
        None => {
            let written = host.to_str().ok().and_then(|it| it.parse::<SocketAddr>().ok());
            written.is_some_and(|it| (it.ip(), it.port()) == (destination.ip(), destination.port()))
        }
    }
}

/// The number of the probe's headers, if the request has all of them.
fn matching_headers(probe: &HttpProbe, headers: &HeaderMap) -> Option<usize> {
    let has = |(name, value): &(HeaderName, HeaderValue)| {
        let written = |it: &HeaderValue| it.as_bytes().trim_ascii() == value.as_bytes().trim_ascii();
        value.as_bytes().trim_ascii().is_empty() || headers.get_all(name).iter().any(written)
    };
    probe.headers.iter().all(has).then_some(probe.headers.len())
}

/// The request head that kubelet writes for the probe.
fn head(probe: &HttpProbe, destination: SocketAddr, kubelet: Option<&HeaderValue>) -> Vec<u8> {
    let mut head = format!("GET {} HTTP/1.1\r\n", probe.target).into_bytes();
    let mut put = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    };
    match &probe.host {
        Some(host) => put("Host", host.as_bytes()),
        None => put("Host", SocketAddr::new(destination.ip(), destination.port()).to_string().as_bytes()),
    }
    let names = |name: HeaderName| probe.headers.iter().any(|it| it.0 == name);
    if !names(header::USER_AGENT) {
        put("User-Agent", kubelet.filter(|it| is_kubelet(it)).map_or(b"kube-probe/", |it| it.as_bytes()));
    }
    if !names(header::ACCEPT) {
        put("Accept", b"*/*");
    }
    for (name, value) in &probe.headers {
        let is_taken_off = *name == header::ACCEPT && value.is_empty();
        if !is_taken_off {
            put(&canonical(name), value.as_bytes());
        }
    }
    put("Connection", b"close");
    head.extend_from_slice(b"\r\n");
    head
}

/// A header's name in the canonical form of Go's net/http: `X-Name`.
fn canonical(name: &HeaderName) -> String {
    let mut at_start = true;
    let letter = |it: char| {
        let letter = if at_start { it.to_ascii_uppercase() } else { it };
        at_start = it == '-';
        letter
    };
    name.as_str().chars().map(letter).collect()
}

/// Whether this is how kubelet names itself: `kube-probe/1.34` or `kube-lifecycle/1.34+`.
fn is_kubelet(user_agent: &HeaderValue) -> bool {
    let text = user_agent.as_bytes();
    let version = text.strip_prefix(b"kube-probe/").or_else(|| text.strip_prefix(b"kube-lifecycle/"));
    version.is_some_and(|it| it.len() <= 8 && it.iter().all(|it| matches!(it, b'0'..=b'9' | b'.' | b'+')))
}

fn http(probes: &[ProbeAction]) -> impl Iterator<Item = &HttpProbe> {
    probes.iter().filter_map(|it| match it {
        ProbeAction::Http(it) if !it.tls => Some(it),
        ProbeAction::Http(_) | ProbeAction::Connect | ProbeAction::Grpc { .. } => None,
    })
}

fn https(probes: &[ProbeAction]) -> impl Iterator<Item = &HttpProbe> {
    probes.iter().filter_map(|it| match it {
        ProbeAction::Http(it) if it.tls => Some(it),
        ProbeAction::Http(_) | ProbeAction::Connect | ProbeAction::Grpc { .. } => None,
    })
}

/// A `grpc.health.v1.HealthCheckRequest` as a gRPC message: uncompressed flag, length, and field 1 unless it is empty.
fn health_check_request(service: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(service.len() + 8);
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

/// Client input for a log message: escaped and truncated.
fn excerpt(bytes: &[u8]) -> String {
    let kept = bytes.get(..EXCERPT_LIMIT);
    let more = if kept.is_some() && bytes.len() > EXCERPT_LIMIT { "..." } else { "" };
    format!("{}{more}", kept.unwrap_or(bytes).escape_ascii())
}

// === impl ProbeRefusal ===

impl ProbeRefusal {
    /// `asked` says what the connection did, as the predicate of "its node".
    pub fn new(probes: &[ProbeAction], asked: String) -> Self {
        let spec: Vec<String> = probes.iter().map(describe).collect();
        Self { asked, spec: spec.join(" or ") }
    }
}

fn describe(probe: &ProbeAction) -> String {
    match probe {
        ProbeAction::Connect => "for a connection only".to_owned(),
        ProbeAction::Grpc { service } => {
            format!("for the gRPC health of `{}`", excerpt(service.as_bytes()))
        }
        ProbeAction::Http(it) => {
            let over = if it.tls { " over TLS" } else { "" };
            let of = it.host.as_ref().map(|it| format!(" of host {}", excerpt(it.as_bytes())));
            format!("GET {}{}{over}", excerpt(it.target.as_bytes()), of.unwrap_or_default())
        }
    }
}
