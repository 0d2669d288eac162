//! Sockets as the tunnel needs them: made inside a namespace, non-blocking, and closed on exec.
//!
//! The functions open the socket in the calling thread's namespace; [`Namespace::listen`] and [`Namespace::connector`] open
//! it in another.

use crate::{Namespace, NetnsError, kernel};
use rustix::fd::AsFd;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// The `SO_MARK` of a socket, which capture rules and routes see on each of its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark(pub u32);

/// A listener to open.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// Where. `[::]` takes IPv4 as well.
    pub address: SocketAddr,
    /// How many connections may wait to be accepted.
    pub backlog: i32,
    /// Whether several sockets share the address, one a thread or one a process during an upgrade.
    pub reuse_port: ReusePort,
    /// Whether it takes connections to addresses that are not the namespace's.
    pub transparency: Transparency,
    /// The mark of what it and the connections it accepts send.
    pub mark: Option<Mark>,
}

/// Whether a port is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReusePort {
    /// One socket listens on the address: a second one is refused.
    Exclusive,
    /// Every socket that asks for it too (`SO_REUSEPORT`).
    Shared,
}

/// Whether a socket may have an address that is not its namespace's (`IP_TRANSPARENT`; needs CAP_NET_ADMIN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transparency {
    /// The socket binds to addresses of this network namespace only.
    Opaque,
    /// The socket binds to any address (`IP_TRANSPARENT`, needs `CAP_NET_ADMIN`).
    Transparent,
}

/// A connection to open.
#[derive(Clone, Copy, Debug)]
pub struct Connect {
    /// To where; the family of the socket follows from it.
    pub destination: SocketAddr,
    /// From where, if not from what the kernel picks.
    pub source: Option<Source>,
    /// The mark of its packets.
    pub mark: Option<Mark>,
}

/// The address a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Somebody else's address, the port free for the kernel to choose when it knows the destination
    /// (`IP_BIND_ADDRESS_NO_PORT`: without it a port per source would be taken, and 28,000 connections be all there are).
    Spoofed(IpAddr),
    /// Somebody else's address and port.
    SpoofedPort(SocketAddr),
}

/// Keepalive as for connections within a cluster: a peer whose node is gone is noticed in about a minute.
pub const KEEPALIVE: Keepalive =
    Keepalive { idle: Duration::from_secs(30), interval: Duration::from_secs(10), probes: 3 };

/// When to ask a silent peer whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// The time from one probe to the next.
    pub interval: Duration,
    /// Unanswered probes that end the connection.
    pub probes: u32,
}

/// Opens a listener in this thread's namespace.
pub fn listen(wanted: &Listen) -> io::Result<std::net::TcpListener> {
    let socket = tcp(wanted.address)?;
    socket.set_reuse_address(true)?;
    if wanted.reuse_port == ReusePort::Shared {
        socket.set_reuse_port(true)?;
    }
    if wanted.address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    if wanted.transparency == Transparency::Transparent {
        set_transparent(&socket, wanted.address)?;
    }
    if let Some(Mark(mark)) = wanted.mark {
        socket.set_mark(mark)?;
    }
    socket.bind(&SockAddr::from(wanted.address))?;
    socket.listen(wanted.backlog)?;
    Ok(socket.into())
}

/// Makes a socket in this thread's namespace that is ready to connect to `wanted.destination`.
pub fn connector(wanted: &Connect) -> io::Result<tokio::net::TcpSocket> {
    let socket = tcp(wanted.destination)?;
    if let Some(Mark(mark)) = wanted.mark {
        socket.set_mark(mark)?;
    }
    socket.set_tcp_nodelay(true)?;
    let source = match wanted.source {
        Some(Source::Spoofed(ip)) => Some(SocketAddr::new(ip, 0)),
        Some(Source::SpoofedPort(address)) => Some(address),
        None => None,
    };
    if let Some(source) = source {
        set_transparent(&socket, wanted.destination)?;
        if source.port() == 0 {
            kernel::set_option(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        } else {
            // The same client may come back from the same port while its last connection lingers in TIME_WAIT.
            socket.set_reuse_address(true)?;
        }
        socket.bind(&SockAddr::from(source))?;
    }
    Ok(tokio::net::TcpSocket::from_std_stream(socket.into()))
}

/// The address a captured connection was made to, before the redirect (`SO_ORIGINAL_DST`). Of a connection that was not
/// captured, the address it was made to.
pub fn original_destination(connection: &impl AsFd) -> io::Result<SocketAddr> {
    let local = socket_address(SockRef::from(connection).local_addr()?)?;
    let is_v4 = match local.ip() {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
    };
    let original = if is_v4 {
        SockRef::from(connection).original_dst_v4()
    } else {
        SockRef::from(connection).original_dst_v6()
    };
    match original {
        Ok(original) => socket_address(original),
        // Nothing tracks connections in a namespace without rules.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOPROTOOPT)) => {
            Ok(canonical(local))
        }
        Err(error) => Err(error),
    }
}

/// Sends small writes at once, and notices a peer that is gone.
pub fn tune(connection: &impl AsFd, keepalive: Keepalive) -> io::Result<()> {
    let socket = SockRef::from(connection);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(keepalive.idle)
            .with_interval(keepalive.interval)
            .with_retries(keepalive.probes),
    )
}

/// Bounds what the kernel keeps of a connection that this side has not read, in bytes. On a link with large frames, such as a pod's
/// own loopback, the kernel alone would let it grow to a megabyte at the first read.
pub fn bound_receive_buffer(connection: &impl AsFd, bytes: usize) -> io::Result<()> {
    SockRef::from(connection).set_recv_buffer_size(bytes)
}

/// Bounds the segments that the peer sends on a connection, in bytes; call it before the connection is opened, or on the listener. A
/// kernel gives a sender room for twenty segments at once, and those of a loopback have 64 KiB.
pub fn bound_segments(socket: &impl AsFd, bytes: u32) -> io::Result<()> {
    SockRef::from(socket).set_tcp_mss(bytes)
}

/// Bounds what the kernel keeps of what this side has written and the peer has no window for, in bytes. Alone it would keep four
/// megabytes for a peer that does not read.
pub fn bound_unsent(connection: &impl AsFd, bytes: u32) -> io::Result<()> {
    SockRef::from(connection).set_tcp_notsent_lowat(bytes)
}

/// How many more bytes the peer's kernel has room for; none where this kernel does not say. It takes what comes whether its program
/// reads or not, so that room which stays shows a program that reads.
pub fn room_of_peer(connection: &impl AsFd) -> Option<u32> {
    let peer = kernel::peer_window(connection)?;
    Some(peer.window.saturating_sub(peer.outstanding))
}

/// A raw view of every frame that goes in or out by any link of a namespace.
#[derive(Debug)]
pub struct PacketTap {
    socket: Socket,
}

/// What a tap got and missed since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapCounts {
    /// Frames that reached it.
    pub frames: u64,
    /// Frames it had no room for.
    pub dropped: u64,
}

impl PacketTap {
    /// Opens one in this thread's namespace; reading waits no longer than `read_timeout`.
    pub fn open(read_timeout: Duration) -> io::Result<Self> {
        const EVERYTHING: u16 = libc::ETH_P_ALL as u16;
        let socket =
            Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(EVERYTHING.to_be()))))?;
        // As much room as the administrator lets ordinary users have.
        socket.set_recv_buffer_size(8 * 1024 * 1024)?;
        socket.set_read_timeout(Some(read_timeout))?;
        Ok(Self { socket })
    }

    /// The next frame, cut off at the buffer's end; none if none came in time.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match io::Read::read(&mut &self.socket, buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(None)
            }
            // A link went down.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What it got and missed since this was last asked.
    pub fn counts(&self) -> io::Result<TapCounts> {
        let (frames, dropped) = kernel::packet_statistics(&self.socket)?;
        Ok(TapCounts { frames: frames.into(), dropped: dropped.into() })
    }
}

/// An IPv4 address in IPv6 clothes, undressed: what `[::]` listeners see of IPv4 peers. A link-local address keeps its interface
/// (RFC 4007): without it nobody can connect to it.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match (address, address.ip().to_canonical()) {
        (SocketAddr::V6(v6), IpAddr::V6(ip)) => SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into(),
        (_, ip) => SocketAddr::new(ip, address.port()),
    }
}

impl Namespace {
    /// Opens a listener inside the namespace. Register it with the runtime of the thread that will accept.
    pub async fn listen(&self, wanted: Listen) -> Result<std::net::TcpListener, NetnsError> {
        let opened = self.run(move || listen(&wanted)).await?;
        opened.map_err(|source| self.socket_error("listen on", wanted.address, source))
    }

    /// Makes a socket inside the namespace, ready to connect.
    pub async fn connector(&self, wanted: Connect) -> Result<tokio::net::TcpSocket, NetnsError> {
        let opened = self.run(move || connector(&wanted)).await?;
        opened.map_err(|source| self.socket_error("make a socket for", wanted.destination, source))
    }

    fn socket_error(&self, what: &'static str, address: SocketAddr, source: io::Error) -> NetnsError {
        NetnsError::Socket { what, address, namespace: self.id(), source }
    }
}

fn tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn set_transparent(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true),
    }
}

fn socket_address(address: SockAddr) -> io::Result<SocketAddr> {
    address
        .as_socket()
        .map(canonical)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an IP socket"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    /// Writes until nothing more is taken for a while.
    fn fill(mut writer: &TcpStream) -> usize {
        let (mut written, mut last) = (0, Instant::now());
        while last.elapsed() < Duration::from_millis(200) {
            match writer.write(&[0; 16 << 10]) {
                Ok(bytes) => (written, last) = (written + bytes, Instant::now()),
                Err(_) => std::thread::yield_now(),
            }
        }
        written
    }

    #[test]
    fn what_a_peer_does_not_read_waits_within_a_bound_and_its_room_says_so() {
        const UNSENT: u32 = 64 << 10;
        const BUFFER: usize = 64 << 10;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        bound_receive_buffer(&listener, BUFFER).unwrap();
        let writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut reader, _) = listener.accept().unwrap();
        bound_unsent(&writer, UNSENT).unwrap();
        writer.set_nonblocking(true).unwrap();
        let room = room_of_peer(&writer).unwrap();
        assert!(room > 16 << 10, "{room}");
        let written = fill(&writer);
        assert!(written <= 2 * BUFFER + 2 * UNSENT as usize, "{written} bytes");
        assert_eq!(room_of_peer(&writer), Some(0));
        reader.read_exact(&mut vec![0; written]).unwrap();
        // The acknowledgement that tells of the room comes when the kernel likes.
        let begun = Instant::now();
        while room_of_peer(&writer).unwrap() <= 16 << 10 {
            assert!(begun.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_written_to_a_side_that_does_not_read_stays_within_a_bound() {
        const SEGMENT: u32 = 8 << 10;
        const BUFFER: usize = 96 << 10;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        bound_segments(&listener, SEGMENT).unwrap();
        let mut writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut reader, _) = listener.accept().unwrap();
        bound_receive_buffer(&reader, BUFFER).unwrap();
        assert!(SockRef::from(&writer).tcp_mss().unwrap() <= SEGMENT);
        SockRef::from(&writer).set_send_buffer_size(16 << 10).unwrap();
        // The first read has the kernel grow the buffer.
        let mut piece = vec![0; 64 << 10];
        std::thread::scope(|scope| {
            scope.spawn(|| writer.write_all(&[0; 64 << 10]).unwrap());
            reader.read_exact(&mut piece).unwrap();
        });
        writer.set_nonblocking(true).unwrap();
        let written = fill(&writer);
        let own = SockRef::from(&writer).send_buffer_size().unwrap();
        assert!((BUFFER / 2..=own + 3 * BUFFER).contains(&written), "{written} bytes");
    }

    #[test]
    fn an_address_of_a_link_keeps_its_interface_and_nothing_else() {
        for (seen, expected) in [
            ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[fd00::1]:80", "[fd00::1]:80"),
            ("[fe80::1%7]:80", "[fe80::1%7]:80"),
        ] {
            assert_eq!(canonical(seen.parse().unwrap()), expected.parse::<SocketAddr>().unwrap(), "{seen}");
        }
        // A flow label is of one packet, not of an address.
        let labelled = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 5, 0);
        assert_eq!(canonical(labelled.into()), "[::1]:80".parse::<SocketAddr>().unwrap());
    }
}
