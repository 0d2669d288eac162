//! Listening sockets: one for each worker at each address, so that the kernel spreads connections over the workers.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;

/// Connections that may wait in the kernel for a worker.
const BACKLOG: i32 = 4096;
/// EAFNOSUPPORT
const NO_FAMILY: i32 = 97;

/// Who may hold a port that is to be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody, or it is refused.
    Nobody,
    /// This proxy itself: it goes from one address to every address, or back, and closes the old sockets after.
    Ourselves,
}

/// Binds an address (or every address) once for each worker, or not at all.
pub fn bind(
    address: Option<IpAddr>,
    port: u16,
    workers: NonZeroUsize,
    holder: Holder,
) -> io::Result<Vec<TcpListener>> {
    let bind_all = |address| bind_all(address, workers, holder);
    match address {
        Some(address) => bind_all((address, port).into()),
        None => match bind_all((Ipv6Addr::UNSPECIFIED, port).into()) {
            // A machine without IPv6.
            Err(error)
                if error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(NO_FAMILY) =>
            {
                bind_all((Ipv4Addr::UNSPECIFIED, port).into())
            }
            bound => bound,
        },
    }
}

fn bind_all(address: SocketAddr, workers: NonZeroUsize, holder: Holder) -> io::Result<Vec<TcpListener>> {
    let bound = match holder {
        // Alone first: with SO_REUSEPORT a port that another process of the same user holds would seem free.
        Holder::Nobody => open(address, false)?.local_addr()?.as_socket().unwrap_or(address),
        Holder::Ourselves => address,
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_holds_an_address_may_go_to_every_address_and_back() {
        for workers in [1, 2].map(|it| NonZeroUsize::new(it).unwrap()) {
            let loopback = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let one = bind(loopback, 0, workers, Holder::Nobody).unwrap();
            let port = one[0].local_addr().unwrap().port();
            for address in [None, loopback] {
                let taken = bind(address, port, workers, Holder::Nobody).unwrap_err();
                assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
            }
            let every = bind(None, port, workers, Holder::Ourselves).unwrap();
            drop(one);
            assert_eq!(bind(loopback, port, workers, Holder::Ourselves).unwrap().len(), workers.get());
            assert_eq!(every.len(), workers.get());
        }
    }
}
