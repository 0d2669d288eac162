//! Whether a connection of the node asks what the pod's own spec has kubelet ask, and nothing more.
//!
//! Kubelet asks for anybody who may write a pod's spec: a probe's `host`, path and headers are the author's, and the host may
//! be a pod of somebody else. Therefore what reaches the program is made here of its own pod's spec; of what came over the
//! connection only the version of kubelet is kept.

use fairway_config::model::{HttpProbe, ProbeAction};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::net::SocketAddr;

/// The most bytes of a request's head that are looked at.
pub const HEAD_LIMIT: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// Of what a client wrote no more is repeated in a log.
const MOST_REPEATED: usize = 128;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The content type of a TLS record that holds a ClientHello (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// What a connection has asked so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It cannot be told yet.
    Unclear,
    /// Nothing: it was opened and closed, as the spec has it.
    Connect,
    /// An HTTP probe of the spec.
    Http {
        /// The head that the program gets, whole.
        head: Vec<u8>,
    },
    /// HTTP/2 is spoken, and the spec has a gRPC probe: [`health_check`] decides.
    Grpc,
    /// TLS is spoken, and the spec has a probe over TLS: what is asked within is to be decided in the same way.
    Tls,
    /// Something that the spec does not ask.
    Refused(ProbeRefusal),
}

/// Why a connection of the node is no probe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its node {asked}, and the pod's spec has kubelet ask {spec}")]
pub struct ProbeRefusal {
    asked: String,
    spec: String,
}

/// Decides by the first bytes of a connection, and whether there come no more. `probes` are those of the port.
pub fn asked(probes: &[ProbeAction], destination: SocketAddr, bytes: &[u8], is_over: bool) -> Asked {
    let refused = |asked: String| Asked::Refused(ProbeRefusal::new(probes, asked));
    let Some(first) = bytes.first() else {
        return match (is_over, probes.contains(&ProbeAction::Connect)) {
            (false, _) => Asked::Unclear,
            (true, true) => Asked::Connect,
            (true, false) => refused("has asked nothing".to_owned()),
        };
    };
    if *first == TLS_HANDSHAKE {
        return if https(probes).next().is_some() { Asked::Tls } else { refused("speaks TLS".to_owned()) };
    }
    let is_grpc = || probes.iter().any(|it| matches!(it, ProbeAction::Grpc { .. }));
    if is_grpc() && (bytes.starts_with(PREFACE) || PREFACE.starts_with(bytes)) {
        return match (bytes.starts_with(PREFACE), is_over) {
            (true, _) => Asked::Grpc,
            (false, false) => Asked::Unclear,
            (false, true) => refused("has not finished what it asks".to_owned()),
        };
    }
    if http(probes).next().is_none() {
        return refused(format!("says {}", repeated(bytes)));
    }
    match request(probes, destination, bytes) {
        Ok(Some(head)) => Asked::Http { head },
        Ok(None) if is_over => refused("has not finished what it asks".to_owned()),
        Ok(None) if bytes.len() >= HEAD_LIMIT => refused(format!("asks with more than {HEAD_LIMIT} bytes")),
        Ok(None) => Asked::Unclear,
        Err(asked) => refused(asked),
    }
}

/// Whether a request within gRPC is the spec's health check: the message that the program gets.
pub fn health_check(
    probes: &[ProbeAction],
    method: &Method,
    path: &str,
    message: &[u8],
) -> Result<Vec<u8>, ProbeRefusal> {
    let refused = |asked: String| Err(ProbeRefusal::new(probes, asked));
    if method != Method::POST || path != HEALTH_CHECK {
        return refused(format!(
            "asks {} {}",
            repeated(method.as_str().as_bytes()),
            repeated(path.as_bytes())
        ));
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

/// The one request, as the program gets it; none while its head is not whole.
fn request(probes: &[ProbeAction], destination: SocketAddr, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("says {}, which is no request ({error})", repeated(bytes))),
    };
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    let headers = headers_of(parsed.headers).ok_or("asks with a header that is none")?;
    let hosts: Vec<&HeaderValue> = headers.get_all(header::HOST).iter().collect();
    let [host] = hosts[..] else { return Err(format!("asks with {} Host headers", hosts.len())) };
    let asks = || {
        let (method, target) = (repeated(method.as_bytes()), repeated(target.as_bytes()));
        format!("asks {method} {target} of host {}", repeated(host.as_bytes()))
    };
    if method != "GET" || parsed.version != Some(1) {
        return Err(asks());
    }
    let theirs = http(probes).filter(|it| *it.target == *target && is_host(it, destination, host));
    // Two probes may differ in their headers only.
    let Some(probe) = theirs.max_by_key(|it| likeness(it, &headers)) else { return Err(asks()) };
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

/// How many of the probe's headers the request has; less than nothing if it lacks one.
fn likeness(probe: &HttpProbe, headers: &HeaderMap) -> Option<usize> {
    let has = |(name, value): &(HeaderName, HeaderValue)| {
        let written = |it: &HeaderValue| it.as_bytes().trim_ascii() == value.as_bytes().trim_ascii();
        value.as_bytes().trim_ascii().is_empty() || headers.get_all(name).iter().any(written)
    };
    probe.headers.iter().all(has).then_some(probe.headers.len())
}

/// What kubelet writes for the probe.
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

/// A header's name as Go's programs write it: `X-Name`.
fn canonical(name: &HeaderName) -> String {
    let mut at_start = true;
    let letter = |it: char| {
        let letter = if at_start { it.to_ascii_uppercase() } else { it };
        at_start = it == '-';
        letter
    };
    name.as_str().chars().map(letter).collect()
}

/// `kube-probe/1.34` or `kube-lifecycle/1.34+`.
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

/// A `grpc.health.v1.HealthCheckRequest` in its frame: not compressed, its length, and field 1 unless it is empty.
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

/// What a client wrote, for a log.
fn repeated(bytes: &[u8]) -> String {
    let kept = bytes.get(..MOST_REPEATED);
    let more = if kept.is_some() && bytes.len() > MOST_REPEATED { "..." } else { "" };
    format!("{}{more}", kept.unwrap_or(bytes).escape_ascii())
}

// === impl ProbeRefusal ===

impl ProbeRefusal {
    /// `asked` is what the connection did.
    pub fn new(probes: &[ProbeAction], asked: String) -> Self {
        let spec: Vec<String> = probes.iter().map(written).collect();
        Self { asked, spec: spec.join(" or ") }
    }
}

fn written(probe: &ProbeAction) -> String {
    match probe {
        ProbeAction::Connect => "for a connection only".to_owned(),
        ProbeAction::Grpc { service } => {
            format!("for the gRPC health of `{}`", repeated(service.as_bytes()))
        }
        ProbeAction::Http(it) => {
            let over = if it.tls { " over TLS" } else { "" };
            let of = it.host.as_ref().map(|it| format!(" of host {}", repeated(it.as_bytes())));
            format!("GET {}{}{over}", repeated(it.target.as_bytes()), of.unwrap_or_default())
        }
    }
}
