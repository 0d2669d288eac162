//! The `forwarded` header of a tunnel (RFC 7239): for whom a proxy opened it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The client whose connection a tunnel carries. Only what an authenticated proxy says of its own client is kept:
/// one element, its `for` an address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forwarded {
    /// The client's address, as the proxy that accepted it saw it.
    pub client: SocketAddr,
}

/// A `forwarded` header that does not say what this one needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the forwarded header does not hold one element with for=\"<address>:<port>\"")]
pub struct InvalidForwarded;

impl FromStr for Forwarded {
    type Err = InvalidForwarded;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut client = None;
        for pair in text.split(';') {
            let (name, value) = pair.trim().split_once('=').ok_or(InvalidForwarded)?;
            if !name.eq_ignore_ascii_case("for") {
                continue;
            }
            let node = match value.strip_prefix('"') {
                Some(rest) => rest.strip_suffix('"').ok_or(InvalidForwarded)?,
                None => value,
            };
            let address: SocketAddr = node.parse().map_err(|_| InvalidForwarded)?;
            let scoped = matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0);
            if scoped || address.port() == 0 || client.is_some() {
                return Err(InvalidForwarded);
            }
            client = Some(SocketAddr::new(IpAddr::to_canonical(&address.ip()), address.port()));
        }
        client.map(|client| Self { client }).ok_or(InvalidForwarded)
    }
}

impl fmt::Display for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "for=\"{}\"", self.client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_client_is_read_and_the_rest_passed_over() {
        for (text, client) in [
            ("for=\"10.0.0.1:4000\"", "10.0.0.1:4000"),
            ("by=x;For=\"[fd00::1]:4000\";host=reviews", "[fd00::1]:4000"),
            ("for=10.0.0.1:4000", "10.0.0.1:4000"),
        ] {
            assert_eq!(text.parse(), Ok(Forwarded { client: client.parse().unwrap() }), "{text}");
        }
    }

    #[test]
    fn a_list_a_name_or_no_port_is_refused() {
        for text in [
            "",
            "for",
            "for=_hidden",
            "for=10.0.0.1",
            "for=\"10.0.0.1:1\", for=\"10.0.0.2:1\"",
            "for=\"10.0.0.1:1\";for=\"10.0.0.2:1\"",
            "for=\"10.0.0.1:1",
            "for=\"10.0.0.1:0\"",
            "host=x",
        ] {
            assert_eq!(text.parse::<Forwarded>(), Err(InvalidForwarded), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_written_back_the_same(text in "\\PC{0,40}") {
            if let Ok(forwarded) = text.parse::<Forwarded>() {
                prop_assert_eq!(forwarded.to_string().parse(), Ok(forwarded));
            }
        }
    }
}
