//! Where a client is, by what its listener is told to believe.

use super::forwarded_for;
use fairway_config::model::AddressSource;
use fairway_policy::CidrSet;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::net::IpAddr;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The far end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarEnd {
    /// Where the connection comes from.
    pub peer: IpAddr,
    /// Where that peer says that the client is, if it has said so in a header of the PROXY protocol.
    pub proxied: Option<IpAddr>,
}

/// Why it is not known where the client of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Its connection did not begin with a header of the PROXY protocol from a trusted peer. It may be older than the configuration that
    /// asks for that.
    NoProxyHeader,
    /// A trusted peer says something that is no address, or more than one thing.
    Malformed,
}

/// Why it is not known where the client of a connection is of which only bytes are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamAddressError {
    /// A request would say it.
    NoRequest,
    /// The connection did not begin with a header of the PROXY protocol from a trusted peer.
    NoProxyHeader,
}

/// The headers in which requests say where their clients are, worked out once for the listeners of a socket.
#[derive(Clone, Debug, Default)]
pub struct AddressHeaderNames(Box<[HeaderName]>);

/// What a request says of its client's address, kept before it is taken out of the head.
#[derive(Clone, Debug, Default)]
pub struct AddressHeaders<'n>(SmallVec<[(&'n HeaderName, HeaderValue); 2]>);

// === impl FarEnd ===

impl FarEnd {
    /// One that says nothing of itself.
    pub fn of_peer(peer: IpAddr) -> Self {
        Self { peer: peer.to_canonical(), proxied: None }
    }

    /// That of a client for which a proxy connects, or else of the client itself.
    pub fn of(client: IpAddr, proxy: Option<&IpAddr>) -> Self {
        match proxy {
            Some(peer) => Self { proxied: Some(client.to_canonical()), ..Self::of_peer(*peer) },
            None => Self::of_peer(client),
        }
    }
}

// === impl AddressHeaderNames ===

impl AddressHeaderNames {
    /// Those that sources look at, each once.
    pub fn of<'a>(sources: impl IntoIterator<Item = &'a AddressSource>) -> Self {
        let mut names: Vec<HeaderName> = Vec::new();
        for name in sources.into_iter().filter_map(header_of) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        Self(names.into())
    }

    /// What a request says in them.
    pub fn read(&self, headers: &HeaderMap) -> AddressHeaders<'_> {
        let lines = |name| headers.get_all(name).iter().map(move |it| (name, it.clone()));
        AddressHeaders(self.0.iter().flat_map(lines).collect())
    }
}

// === impl AddressHeaders ===

impl AddressHeaders<'_> {
    fn lines<'a>(&'a self, name: &'a HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(it, _)| *it == name).map(|(_, value)| value.as_bytes())
    }
}

/// The header that a source looks at.
fn header_of(source: &AddressSource) -> Option<&HeaderName> {
    match source {
        AddressSource::ForwardedFor(_) => Some(&FORWARDED_FOR),
        AddressSource::Header { name, .. } => Some(name),
        AddressSource::Connection | AddressSource::ProxyProtocol(_) => None,
    }
}

/// Where the client of a request is.
pub fn of_request(
    source: &AddressSource,
    far: &FarEnd,
    headers: &AddressHeaders<'_>,
) -> Result<IpAddr, AddressError> {
    match source {
        AddressSource::ForwardedFor(trusted) if trusted.contains(far.peer) => {
            Ok(forwarded_for::walk(far.peer, trusted, headers.lines(&FORWARDED_FOR)))
        }
        AddressSource::Header { name, trusted } if trusted.contains(far.peer) => {
            let mut lines = headers.lines(name);
            match (lines.next(), lines.next()) {
                // The proxy asks on its own behalf: it looks whether anybody is here.
                (None, _) => Ok(far.peer),
                (Some(one), None) => forwarded_for::parse(one).ok_or(AddressError::Malformed),
                (Some(_), Some(_)) => Err(AddressError::Malformed),
            }
        }
        AddressSource::Connection | AddressSource::ForwardedFor(_) | AddressSource::Header { .. } => {
            Ok(far.peer)
        }
        AddressSource::ProxyProtocol(trusted) => proxied(far, trusted).ok_or(AddressError::NoProxyHeader),
    }
}

/// Where the client of a connection is of which only bytes are seen.
pub fn of_connection(source: &AddressSource, far: &FarEnd) -> Result<IpAddr, StreamAddressError> {
    match source {
        AddressSource::Connection => Ok(far.peer),
        AddressSource::ProxyProtocol(trusted) => {
            proxied(far, trusted).ok_or(StreamAddressError::NoProxyHeader)
        }
        // There is no header to read.
        AddressSource::ForwardedFor(_) | AddressSource::Header { .. } => Err(StreamAddressError::NoRequest),
    }
}

fn proxied(far: &FarEnd, trusted: &CidrSet) -> Option<IpAddr> {
    far.proxied.filter(|_| trusted.contains(far.peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "10.0.0.1";
    const STRANGER: &str = "192.0.2.66";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn trusted() -> CidrSet {
        std::iter::once("10.0.0.0/8".parse().unwrap()).collect()
    }

    fn header() -> AddressSource {
        AddressSource::Header { name: HeaderName::from_static("cf-connecting-ip"), trusted: trusted() }
    }

    fn located(
        source: &AddressSource,
        peer: &str,
        proxied: Option<&str>,
        headers: &[(&'static str, &'static str)],
    ) -> Result<IpAddr, AddressError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let far = FarEnd { proxied: proxied.map(ip), ..FarEnd::of_peer(ip(peer)) };
        of_request(source, &far, &AddressHeaderNames::of([source]).read(&map))
    }

    /// Each source believes what it is told to believe, of whom it is told to believe it, and nothing else.
    #[test]
    fn an_address_is_believed_of_trusted_peers_and_by_the_way_that_is_asked_for() {
        use AddressSource::{Connection, ForwardedFor, ProxyProtocol};
        let says = [("x-forwarded-for", "203.0.113.7"), ("cf-connecting-ip", "203.0.113.8")];
        let proxied = Some("203.0.113.9");
        let all: [(AddressSource, [Result<&str, AddressError>; 3]); 4] = [
            // From a trusted peer; from one with a PROXY header; from a stranger with all of it.
            (Connection, [Ok(PEER), Ok(PEER), Ok(STRANGER)]),
            (
                ProxyProtocol(trusted()),
                [Err(AddressError::NoProxyHeader), Ok("203.0.113.9"), Err(AddressError::NoProxyHeader)],
            ),
            (ForwardedFor(trusted()), [Ok("203.0.113.7"), Ok("203.0.113.7"), Ok(STRANGER)]),
            (header(), [Ok("203.0.113.8"), Ok("203.0.113.8"), Ok(STRANGER)]),
        ];
        for (source, expected) in all {
            let found = [
                located(&source, PEER, None, &says),
                located(&source, PEER, proxied, &says),
                located(&source, STRANGER, proxied, &says),
            ];
            assert_eq!(found, expected.map(|it| it.map(ip)), "{source:?}");
        }
    }

    #[test]
    fn a_header_of_its_own_has_one_address_or_the_request_is_refused() {
        const NAME: &str = "cf-connecting-ip";
        for (headers, expected) in [
            (&[][..], Ok(PEER)),
            (&[(NAME, "203.0.113.7")], Ok("203.0.113.7")),
            (&[(NAME, "[2001:db8::1]:80")], Ok("2001:db8::1")),
            (&[(NAME, "10.2.3.4")], Ok("10.2.3.4")),
            (&[("x-forwarded-for", "203.0.113.7")], Ok(PEER)),
            (&[(NAME, "")], Err(AddressError::Malformed)),
            (&[(NAME, "203.0.113.7, 203.0.113.8")], Err(AddressError::Malformed)),
            (&[(NAME, "203.0.113.7"), (NAME, "203.0.113.7")], Err(AddressError::Malformed)),
            (&[(NAME, "unknown")], Err(AddressError::Malformed)),
        ] {
            assert_eq!(located(&header(), PEER, None, headers), expected.map(ip), "{headers:?}");
        }
        assert_eq!(located(&header(), STRANGER, None, &[(NAME, "unknown")]), Ok(ip(STRANGER)));
    }

    #[test]
    fn each_header_is_looked_at_once_whoever_of_the_listeners_asks_for_it() {
        use AddressSource::{Connection, ForwardedFor, ProxyProtocol};
        let sources = [
            Connection,
            header(),
            ForwardedFor(trusted()),
            ProxyProtocol(trusted()),
            header(),
            ForwardedFor(trusted()),
        ];
        let names = AddressHeaderNames::of(&sources);
        assert_eq!(*names.0, [HeaderName::from_static("cf-connecting-ip"), FORWARDED_FOR.clone()]);
        let mut map = HeaderMap::new();
        map.append("cf-connecting-ip", HeaderValue::from_static("203.0.113.7"));
        map.append("x-other", HeaderValue::from_static("1"));
        let headers = names.read(&map);
        assert_eq!(headers.0.len(), 1);
        assert!(AddressHeaderNames::of(&sources[..1]).read(&map).0.is_empty());
    }

    #[test]
    fn of_bytes_only_the_connection_and_its_proxy_header_are_known() {
        use AddressSource::{Connection, ForwardedFor, ProxyProtocol};
        let far = FarEnd { proxied: Some(ip("203.0.113.9")), ..FarEnd::of_peer(ip("::ffff:10.0.0.1")) };
        assert_eq!(of_connection(&Connection, &far), Ok(ip(PEER)));
        assert_eq!(of_connection(&ProxyProtocol(trusted()), &far), Ok(ip("203.0.113.9")));
        for source in [ForwardedFor(trusted()), header()] {
            assert_eq!(of_connection(&source, &far), Err(StreamAddressError::NoRequest), "{source:?}");
        }
    }
}
