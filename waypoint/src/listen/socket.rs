//! Listening sockets: one for each worker at each address, so that the kernel spreads connections and clients over the
//! workers.

use crate::table::{self, SocketKind};
use crate::transport::{bound_unsent, keep_alive};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;

/// Length of the accept queue of each listening socket.
const BACKLOG: i32 = 4096;
/// `EAFNOSUPPORT`: the machine has no IPv6.
const NO_FAMILY: i32 = 97;

/// Passes every segment but a SYN without an ACK: `ldb [13]; and #0x12; jeq #0x02, drop; ret #-1; drop: ret #0`.
const NO_SYN: [(u16, u8, u8, u32); 5] =
    [(0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 1, 0, 0x02), (0x06, 0, 0, u32::MAX), (0x06, 0, 0, 0)];

/// Which process may already hold a port that is to be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// None. If one does, binding fails.
    Nobody,
    /// This proxy: it moves from one address to all addresses, or back, and closes the old sockets afterwards.
    Ourselves,
}

/// A bound socket of a listener.
#[derive(Debug)]
pub enum Bound {
    /// It listens: the kernel takes connections from now on.
    Stream(TcpListener),
    /// What comes from one address and port reaches one worker's socket, as long as no socket comes or goes.
    Datagram(UdpSocket),
}

/// Binds an address (or every address) once for each worker, or not at all.
pub fn bind(socket: table::Socket, workers: NonZeroUsize, holder: Holder) -> io::Result<Vec<Bound>> {
    let bind_all = |ip| bind_all((ip, socket.port).into(), socket.kind, workers, holder);
    match socket.address {
        Some(address) => bind_all(address),
        None => match bind_all(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) {
            Err(error) if lacks_ipv6(&error) => bind_all(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            bound => bound,
        },
    }
}

/// A kernel without IPv6 has no such sockets; one where it is switched off (`disable_ipv6`) no such address.
fn lacks_ipv6(error: &io::Error) -> bool {
    let no_family = error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(NO_FAMILY);
    no_family || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn bind_all(
    address: SocketAddr,
    kind: SocketKind,
    workers: NonZeroUsize,
    holder: Holder,
) -> io::Result<Vec<Bound>> {
    let bound = match holder {
        // Alone first: with SO_REUSEPORT a port that another process of the same user holds would seem free.
        Holder::Nobody => open(address, kind, false)?.local_addr()?.as_socket().unwrap_or(address),
        Holder::Ourselves => address,
    };
    (0..workers.get())
        .map(|_| {
            let socket = open(bound, kind, true)?;
            match kind {
                SocketKind::Stream => {
                    keep_alive(&socket);
                    bound_unsent(&socket);
                    socket.listen(BACKLOG)?;
                    Ok(Bound::Stream(socket.into()))
                }
                SocketKind::Datagram => Ok(Bound::Datagram(socket.into())),
            }
        })
        .collect()
}

fn open(address: SocketAddr, kind: SocketKind, shared: bool) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = match kind {
        SocketKind::Stream => {
            let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
            // Of UDP it would let any other process share the port.
            socket.set_reuse_address(true)?;
            socket
        }
        SocketKind::Datagram => Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?,
    };
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

/// Has the kernel begin no connection at a listener any more; those it has begun can still be accepted. A client's SYN gets no
/// answer, and it asks again after a second, when the listener is closed or another one is there.
///
/// To accept until nobody waits and then to close resets those who come between the two.
pub fn begin_no_more(listener: &impl AsFd) -> io::Result<()> {
    let filter = NO_SYN.map(|(code, jump, jump_else, value)| SockFilter::new(code, jump, jump_else, value));
    SockRef::from(listener).attach_filter(&filter)
}

// === impl Bound ===

impl Bound {
    /// The local address. Fails only if the descriptor is invalid.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Stream(socket) => socket.local_addr(),
            Self::Datagram(socket) => socket.local_addr(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_proxy_that_holds_an_address_may_go_to_every_address_and_back() {
        let loopback = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        for kind in [SocketKind::Stream, SocketKind::Datagram] {
            for workers in [1, 2].map(|it| NonZeroUsize::new(it).unwrap()) {
                let bind =
                    |address, port, holder| bind(table::Socket { address, port, kind }, workers, holder);
                let one = bind(loopback, 0, Holder::Nobody).unwrap();
                let port = one[0].address().unwrap().port();
                for address in [None, loopback] {
                    let taken = bind(address, port, Holder::Nobody).unwrap_err();
                    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
                }
                let every = bind(None, port, Holder::Ourselves).unwrap();
                drop(one);
                assert_eq!(bind(loopback, port, Holder::Ourselves).unwrap().len(), workers.get());
                assert_eq!(every.len(), workers.get());
            }
        }
    }

    #[test]
    fn tcp_and_udp_have_ports_of_their_own() {
        let at = |port, kind| table::Socket { address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port, kind };
        let bind = |socket| bind(socket, NonZeroUsize::MIN, Holder::Nobody);
        let tcp = bind(at(0, SocketKind::Stream)).unwrap();
        let port = tcp[0].address().unwrap().port();
        assert!(bind(at(port, SocketKind::Datagram)).is_ok());
    }

    #[test]
    fn every_address_takes_clients_of_both_families() {
        let socket = table::Socket { address: None, port: 0, kind: SocketKind::Stream };
        let bound = bind(socket, NonZeroUsize::MIN, Holder::Nobody).unwrap();
        let address = bound[0].address().unwrap();
        let mut clients: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into()];
        if address.is_ipv6() {
            clients.push(Ipv6Addr::LOCALHOST.into());
        }
        for ip in clients {
            assert!(std::net::TcpStream::connect((ip, address.port())).is_ok(), "{ip}");
        }
    }

    /// Closes a listener under four clients that connect as fast as they can; how many were reset.
    fn close_under_clients(close: fn(&TcpListener)) -> usize {
        let socket =
            table::Socket { address: Some(Ipv4Addr::LOCALHOST.into()), port: 0, kind: SocketKind::Stream };
        let bound = bind(socket, NonZeroUsize::MIN, Holder::Nobody).unwrap();
        let address = bound[0].address().unwrap();
        let clients: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(move || {
                    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
                    loop {
                        let mut stream = match std::net::TcpStream::connect(address) {
                            Ok(stream) => stream,
                            Err(error) => break usize::from(!is_refused(&error)),
                        };
                        if stream.write_all(b"?").and_then(|()| stream.read_exact(&mut [0])).is_err() {
                            break 1;
                        }
                    }
                })
            })
            .collect();
        let Some(Bound::Stream(listener)) = bound.into_iter().next() else { unreachable!() };
        let serve = |stream: std::net::TcpStream| {
            stream.set_nonblocking(false).unwrap();
            thread::spawn(move || {
                let mut stream = stream;
                let _ = stream.read_exact(&mut [0]).and_then(|()| stream.write_all(b"!"));
            });
        };
        let mut served = 0;
        while served < 50 {
            if let Ok((stream, _)) = listener.accept() {
                served += 1;
                serve(stream);
            }
        }
        close(&listener);
        while let Ok((stream, _)) = listener.accept() {
            serve(stream);
        }
        drop(listener);
        clients.into_iter().map(|it| it.join().unwrap()).sum()
    }

    #[test]
    fn a_listener_that_closes_resets_nobody() {
        let close = |listener: &TcpListener| {
            begin_no_more(listener).unwrap();
            thread::park_timeout(Duration::from_millis(20));
        };
        // Without `begin_no_more` some three of these ten reset a client.
        let rounds: Vec<_> = (0..10).map(|_| thread::spawn(move || close_under_clients(close))).collect();
        let reset: usize = rounds.into_iter().map(|it| it.join().unwrap()).sum();
        assert_eq!(reset, 0);
    }
}
