//! Listening sockets: one for each worker at each address, so that the kernel spreads connections over the workers.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;

/// Connections that may wait in the kernel for a worker.
const BACKLOG: i32 = 4096;
/// EAFNOSUPPORT
const NO_FAMILY: i32 = 97;

/// Binds an address (or every address) once for each worker, or not at all.
pub fn bind(address: Option<IpAddr>, port: u16, workers: NonZeroUsize) -> io::Result<Vec<TcpListener>> {
    match address {
        Some(address) => bind_all((address, port).into(), workers),
        None => match bind_all((Ipv6Addr::UNSPECIFIED, port).into(), workers) {
            // A machine without IPv6.
            Err(error)
                if error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(NO_FAMILY) =>
            {
                bind_all((Ipv4Addr::UNSPECIFIED, port).into(), workers)
            }
            bound => bound,
        },
    }
}

fn bind_all(address: SocketAddr, workers: NonZeroUsize) -> io::Result<Vec<TcpListener>> {
    // Alone first: with SO_REUSEPORT a port that another process of the same user holds would seem free.
    let first = open(address, false)?;
    if workers == NonZeroUsize::MIN {
        first.listen(BACKLOG)?;
        return Ok(vec![first.into()]);
    }
    let bound = first.local_addr()?.as_socket().unwrap_or(address);
    drop(first);
    (0..workers.get())
        .map(|_| {
            let socket = open(bound, true)?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // The wildcard address takes IPv4 clients too.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
