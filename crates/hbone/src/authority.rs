//! Where a tunnel leads: the `:authority` of its CONNECT.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// The destination of a tunnel. The port is never 0.
///
/// ```
/// use fairway_hbone::{Authority, InvalidAuthority};
///
/// // Case and the dot of the root do not tell names apart.
/// let name: Authority = "Reviews.shop.svc.cluster.local.:80".parse()?;
/// assert_eq!(name.to_string(), "reviews.shop.svc.cluster.local:80");
/// // No top-level domain is a number, so this is a mistyped address and not a name.
/// assert_eq!("10.0.0.256:80".parse::<Authority>(), Err(InvalidAuthority::Host));
/// // Without brackets the last part of the address would be taken for the port.
/// assert_eq!("fd00::1:80".parse::<Authority>(), Err(InvalidAuthority::Host));
/// assert_eq!("10.0.0.1:0".parse::<Authority>(), Err(InvalidAuthority::Port));
/// # Ok::<(), InvalidAuthority>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Authority {
    /// A numeric address: `10.0.0.1:80` or `[fd00::1]:80`.
    Address(SocketAddr),
    /// A name and a port: `reviews.shop.svc.cluster.local:80`. Names are kept in lower case.
    Name {
        /// A DNS name, in lower case.
        host: Arc<str>,
        /// From 1 to 65535; a destination without a port is refused.
        port: u16,
    },
}

/// A text that names no destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthority {
    /// No `:` and number at the end, or a number that is no port.
    #[error("the authority of a CONNECT ends in `:` and a port from 1 to 65535")]
    Port,
    /// Neither an address nor a DNS name.
    #[error("the host of the authority is neither an IP address nor a DNS name")]
    Host,
}

impl Authority {
    /// The destination's port, whichever form it has.
    pub fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Name { port, .. } => *port,
        }
    }

    /// The address, if it is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name { .. } => None,
        }
    }
}

impl From<SocketAddr> for Authority {
    /// An IPv4 address inside an IPv6 one becomes the IPv4 address it is, so that no guard can be passed by writing it so.
    fn from(address: SocketAddr) -> Self {
        Self::Address(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl FromStr for Authority {
    type Err = InvalidAuthority;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAuthority::Port)?;
        // `parse` alone would take a sign.
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidAuthority::Port);
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(InvalidAuthority::Port)?;
        if let Some(inner) = host.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(InvalidAuthority::Host)?;
            let ip: Ipv6Addr = inner.parse().map_err(|_| InvalidAuthority::Host)?;
            return Ok(SocketAddr::new(IpAddr::V6(ip), port).into());
        }
        if let Ok(ip) = host.parse::<Ipv4Addr>() {
            return Ok(SocketAddr::new(IpAddr::V4(ip), port).into());
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        if !is_dns_name(host) {
            return Err(InvalidAuthority::Host);
        }
        Ok(Self::Name { host: host.to_ascii_lowercase().into(), port })
    }
}

fn is_dns_name(host: &str) -> bool {
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // No top-level domain is a number: what ends in one is a mistyped address.
    let ends_in_number =
        host.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    host.len() <= 253 && !ends_in_number && host.split('.').all(label_ok)
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        for (text, expected) in [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[fd00::1]:8080", "[fd00::1]:8080"),
            ("[::ffff:127.0.0.1]:15001", "127.0.0.1:15001"),
        ] {
            let authority: Authority = text.parse().unwrap();
            assert_eq!(authority, Authority::Address(expected.parse().unwrap()), "{text}");
        }
        assert_eq!(
            "Reviews.Shop.svc.cluster.local.:80".parse(),
            Ok(Authority::Name { host: "reviews.shop.svc.cluster.local".into(), port: 80 })
        );
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        for text in [
            "",
            ":",
            ":80",
            "10.0.0.1",
            "10.0.0.1:",
            "10.0.0.1:0",
            "10.0.0.1:+80",
            "10.0.0.1:65536",
            "10.0.0.256:80",
            "fd00::1:80",
            "[fd00::1%eth0]:80",
            "[10.0.0.1]:80",
            "user@host:80",
            "a..b:80",
            "-a:80",
            "a_b:80",
            "a b:80",
            "1:80",
        ] {
            assert!(text.parse::<Authority>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_written_back_the_same(text in "\\PC{0,40}|[a-c0-9.:\\[\\]-]{0,30}:[0-9]{1,5}") {
            if let Ok(authority) = text.parse::<Authority>() {
                prop_assert_eq!(authority.to_string().parse(), Ok(authority));
            }
        }
    }
}
