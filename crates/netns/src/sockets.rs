//! What sockets there are in a namespace (sock_diag(7)).
//!
//! The function works in the calling thread's namespace: call it through [`Namespace::run`](crate::Namespace::run).

use crate::address::octets;
use crate::netlink::{Connection, Family, Message, NetlinkError, Reply};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const BY_FAMILY: u16 = 20;
const TCP: u8 = 6;
const ALL_STATES: u32 = !0;
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// Values of a TCP socket's state in which it has no connection, or one of which nothing is left to say.
mod state {
    pub(super) const WAITING: u8 = 6;
    pub(super) const CLOSED: u8 = 7;
    pub(super) const LISTENING: u8 = 10;
    pub(super) const REQUESTED: u8 = 12;
}

/// Whether a process of this namespace has, or has just closed, a TCP connection from `source` to `destination`.
///
/// What is only forwarded through the namespace has no socket in it, even if it goes under one of its addresses.
pub fn has_connection(source: SocketAddr, destination: SocketAddr) -> Result<bool, NetlinkError> {
    if source.is_ipv4() != destination.is_ipv4() {
        return Ok(false);
    }
    let asked = Connection::open(Family::Sockets)?.ask(&Message {
        what: format!("find the connection from {source} to {destination}"),
        kind: BY_FAMILY,
        flags: 0,
        fixed: request(source, destination),
        attributes: Vec::new(),
    });
    match asked {
        Ok(replies) => Ok(replies.iter().any(is_connection)),
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether any process of this namespace has a TCP connection that leaves it.
pub fn has_connections() -> Result<bool, NetlinkError> {
    let mut kernel = Connection::open(Family::Sockets)?;
    for any in [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()] {
        let any = SocketAddr::new(any, 0);
        let listed = kernel.dump(&Message {
            what: "list the connections".to_owned(),
            kind: BY_FAMILY,
            flags: 0,
            fixed: request(any, any),
            attributes: Vec::new(),
        })?;
        if listed.iter().any(|reply| is_connection(reply) && !is_closing(reply) && leaves(reply)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `struct inet_diag_req_v2`: one socket, by its addresses.
fn request(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut request = vec![family as u8, TCP, 0, 0];
    request.extend(ALL_STATES.to_ne_bytes());
    request.extend(source.port().to_be_bytes());
    request.extend(destination.port().to_be_bytes());
    for address in [source, destination] {
        let mut field = octets(address.ip());
        field.resize(16, 0);
        request.extend(field);
    }
    request.extend(0u32.to_ne_bytes()); // by any interface
    request.extend(NO_COOKIE);
    request
}

/// The kernel gives a listener where there is no connection; that one says nothing.
fn is_connection(reply: &Reply) -> bool {
    let state = reply.body.get(1).copied();
    state.is_some_and(|it| ![state::CLOSED, state::LISTENING, state::REQUESTED].contains(&it))
}

fn is_closing(reply: &Reply) -> bool {
    reply.body.get(1) == Some(&state::WAITING)
}

/// Not to loopback: `struct inet_diag_msg`. Of what cannot be read it is to be feared.
fn leaves(reply: &Reply) -> bool {
    const DESTINATION: usize = 24;
    let field = reply.body.get(DESTINATION..);
    let destination = match reply.body.first().copied().map(i32::from) {
        Some(libc::AF_INET) => field.and_then(<[u8]>::first_chunk).map(|it: &[u8; 4]| IpAddr::from(*it)),
        Some(libc::AF_INET6) => field.and_then(<[u8]>::first_chunk).map(|it: &[u8; 16]| IpAddr::from(*it)),
        _ => None,
    };
    !destination.is_some_and(|it| it.to_canonical().is_loopback())
}
