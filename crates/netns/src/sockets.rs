//! What sockets there are in a namespace (sock_diag(7)).
//!
//! The functions work in the calling thread's namespace: call them through [`Namespace::run`](crate::Namespace::run).

use crate::address::octets;
use crate::netlink::{Connection, Family, Message, NetlinkError, Reply, attributes};
use crate::socket::Mark;
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

/// A TCP connection of a process of this namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpConnection {
    /// This end's address; of an IPv4 connection always as such.
    pub local: SocketAddr,
    /// The address and port of the other end.
    pub remote: SocketAddr,
    /// The mark of what this end sends; 0 is none.
    pub mark: Mark,
}

/// All there are, but for those of which nothing is left to say. Marks are told to those with CAP_NET_ADMIN.
pub fn connections() -> Result<Vec<TcpConnection>, NetlinkError> {
    let mut kernel = Connection::open(Family::Sockets)?;
    let mut all = Vec::new();
    for any in [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()] {
        let any = SocketAddr::new(any, 0);
        let listed = kernel.dump(&Message {
            what: "list the connections".to_owned(),
            kind: BY_FAMILY,
            flags: 0,
            fixed: request(any, any),
            attributes: Vec::new(),
        })?;
        for reply in listed.iter().filter(|reply| is_connection(reply) && !is_closing(reply)) {
            all.push(parse(&reply.body).ok_or(NetlinkError::Garbled("a socket is cut off"))?);
        }
    }
    Ok(all)
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

/// `struct inet_diag_msg`, and what follows it.
fn parse(body: &[u8]) -> Option<TcpConnection> {
    const PORTS: (usize, usize) = (4, 6);
    const ADDRESSES: (usize, usize) = (8, 24);
    const LENGTH: usize = 72;
    const MARK: u16 = 15;
    let is_ipv4 = i32::from(*body.first()?) == libc::AF_INET;
    let end = |port: usize, address: usize| {
        let port = u16::from_be_bytes(*body.get(port..)?.first_chunk()?);
        let field = body.get(address..)?;
        let ip: IpAddr = match is_ipv4 {
            true => field.first_chunk::<4>().copied()?.into(),
            false => field.first_chunk::<16>().copied()?.into(),
        };
        Some(SocketAddr::new(ip.to_canonical(), port))
    };
    let mark = attributes(body.get(LENGTH..)?).find(|(kind, _)| *kind == MARK);
    let mark = mark.and_then(|(_, value)| value.first_chunk().copied()).map_or(0, u32::from_ne_bytes);
    Some(TcpConnection {
        local: end(PORTS.0, ADDRESSES.0)?,
        remote: end(PORTS.1, ADDRESSES.1)?,
        mark: Mark(mark),
    })
}
