//! The request that `/explain` is asked about.

use fairway_config::model::{Audience, Scheme, ServiceKey, SpiffeId};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use percent_encoding::percent_decode_str;
use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};

/// A request, and how it comes to the proxy.
#[derive(Debug)]
pub struct Question {
    /// The head of the request.
    pub parts: Parts,
    /// Whether it comes over TLS that the proxy ends.
    pub scheme: Scheme,
    /// By which way it comes.
    pub entrance: Entrance,
    /// The identity that the client has proved.
    pub peer: Option<SpiffeId>,
    /// The address that the client would have; none if nobody says.
    pub client: Option<IpAddr>,
}

/// By which way a request comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// The port of a Gateway's listeners.
    Port(u16),
    /// A Service that was dialled, and whose routes hold.
    Service(ServiceKey, u16, Audience),
    /// A tunnel to a waypoint, to this address and port of a Service. A proxy that has routed the request says so, and for whom.
    Tunnel {
        /// What is named in the CONNECT.
        dialled: SocketAddr,
        /// The client that a proxy speaks for which has routed the request; none from a client's own tunnel.
        routed_for: Option<IpAddr>,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Text,
    Json,
}

/// What is no question, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidQuestion {
    #[error(
        "describe a request: /explain?url=http://shop.example/cart, and if need be method=POST, header=name:value (more than once), port=8080 (the listener's), service=shop/cart (instead of a listener; port is the Service's), from=client (the namespace of the client of that Service), peer=spiffe://…, client=192.0.2.1, format=json"
    )]
    NoUrl,
    #[error("`{0}` is no parameter of /explain; /explain without parameters lists them")]
    Unknown(String),
    #[error("{parameter}=`{value}` is not understood: {expected}")]
    Value { parameter: &'static str, value: String, expected: &'static str },
}

impl Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Tunnel { dialled, .. } => write!(f, "the tunnel to {dialled}"),
            Self::Service(service, port, Audience::Producer) => write!(f, "Service {service}:{port}"),
            Self::Service(service, port, Audience::Consumer(namespace)) => {
                write!(f, "Service {service}:{port}, asked by namespace {namespace}")
            }
        }
    }
}

// === impl Question ===

impl Question {
    /// Reads the query of `/explain`.
    pub(super) fn parse(query: &str) -> Result<(Self, Format), InvalidQuestion> {
        let (mut url, mut method, mut headers) = (None, Method::GET, Vec::new());
        let (mut port, mut service, mut from, mut peer, mut client) = (None, None, None, None, None);
        let mut format = Format::Text;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "url" => url = Some(parsed("url", value, "write http:// or https://, a host and a path")?),
                "method" => method = parsed("method", value, "write a method of HTTP")?,
                "header" => headers.push(header(value)?),
                "port" => port = Some(parsed("port", value, "write a number from 1 to 65535")?),
                "service" => service = Some(ServiceKey::from(value)),
                "from" => from = Some(value),
                "peer" => peer = Some(parsed("peer", value, "write a SPIFFE ID")?),
                "client" => client = Some(parsed("client", value, "write an IP address")?),
                "format" if value == "json" => format = Format::Json,
                "format" if value == "text" => format = Format::Text,
                other => return Err(InvalidQuestion::Unknown(other.to_owned())),
            }
        }
        let url: Uri = url.ok_or(InvalidQuestion::NoUrl)?;
        let (scheme, known_port) = match url.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            _ => return Err(InvalidQuestion::NoUrl),
        };
        let port = port.or(url.port_u16()).unwrap_or(known_port);
        let audience = from.map_or(Audience::Producer, |namespace| Audience::Consumer(namespace.into()));
        let entrance = match service {
            Some(service) => Entrance::Service(service, port, audience),
            None => Entrance::Port(port),
        };
        let invalid = || InvalidQuestion::NoUrl;
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let host = url.authority().map(|authority| authority.as_str()).ok_or_else(invalid)?;
        let mut request = Request::builder().method(method).uri(target).header("host", host);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).map_err(|_| invalid())?.into_parts();
        Ok((Self { parts, scheme, entrance, peer, client }, format))
    }
}

fn parsed<T: std::str::FromStr>(
    parameter: &'static str,
    value: String,
    expected: &'static str,
) -> Result<T, InvalidQuestion> {
    value.parse().map_err(|_| InvalidQuestion::Value { parameter, value, expected })
}

fn header(text: String) -> Result<(HeaderName, HeaderValue), InvalidQuestion> {
    let parsed = text.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::try_from(name.trim()).ok()?;
        Some((name, HeaderValue::try_from(value.trim()).ok()?))
    });
    let expected = "write name:value";
    parsed.ok_or(InvalidQuestion::Value { parameter: "header", value: text, expected })
}
