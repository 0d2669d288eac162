//! What a policy can see of a connection or a request.
//!
//! The names are those of the attribute dictionary of the Gateway API (GEP-5253), which are OpenTelemetry's. The identity of
//! a peer has no stable name there, so it is `fairway.dev/peer.identity`.

use crate::path::Path;
use fairway_identity::SpiffeId;
use http::{HeaderMap, Method};
use std::fmt;
use std::net::IpAddr;

/// The attributes of one connection, or of one request on it. Borrowed from whoever asks; copying is cheap.
///
/// An attribute that is *absent* is known to be not there: a plaintext connection has no peer identity. One that is
/// *unknown* was not looked at: a tunnel of bytes does not see the method of a request. A condition on an absent attribute
/// does not hold. One on an unknown attribute counts as not understood.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// The identity that the peer proved by mTLS; `None` says that it proved none.
    pub peer: Option<&'a SpiffeId>,
    /// `client.address`, in either spelling of IPv4; `None` says that it is unknown.
    pub client: Option<IpAddr>,
    /// `server.port`: the port that the client wants to reach.
    pub port: u16,
    /// The request; `None` says that it is unknown, as in a tunnel of bytes.
    pub request: Option<Request<'a>>,
}

/// The attributes of an HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `http.request.method`, compared with its case.
    pub method: &'a Method,
    /// The host that was asked for, of `:authority` or Host. Case, port and a trailing dot do not matter.
    pub host: &'a str,
    /// `url.path`, in both of its readings.
    pub path: &'a Path<'a>,
    /// `http.request.header.<key>`, every field line of each.
    pub headers: &'a HeaderMap,
}

/// The name of an attribute, as conditions, descriptors and logs write it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttributeName {
    /// The identity that the peer proved.
    PeerIdentity,
    /// The address of the client, behind proxies that are trusted to name it.
    ClientAddress,
    /// The port that the client wants to reach.
    ServerPort,
    /// The host that was asked for.
    ServerAddress,
    /// `request.method`, with its case.
    RequestMethod,
    /// The path of the request, without the query.
    UrlPath,
    /// A header of the request, by its name in lower case.
    RequestHeader(http::HeaderName),
}

// === impl AttributeName ===

impl AttributeName {
    /// Whether the attribute is of an HTTP request. A tunnel of bytes does not know it.
    pub fn is_of_request(&self) -> bool {
        match self {
            Self::PeerIdentity | Self::ClientAddress | Self::ServerPort => false,
            Self::ServerAddress | Self::RequestMethod | Self::UrlPath | Self::RequestHeader(_) => true,
        }
    }
}

impl fmt::Display for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerIdentity => f.write_str("fairway.dev/peer.identity"),
            Self::ClientAddress => f.write_str("client.address"),
            Self::ServerPort => f.write_str("server.port"),
            Self::ServerAddress => f.write_str("server.address"),
            Self::RequestMethod => f.write_str("http.request.method"),
            Self::UrlPath => f.write_str("url.path"),
            Self::RequestHeader(name) => write!(f, "http.request.header.{name}"),
        }
    }
}
