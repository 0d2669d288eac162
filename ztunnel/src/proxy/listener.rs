//! The three listening sockets of a captured pod, in the pod's network namespace.

use super::{Direction, program_socket};
use fairway_netns::capture::CaptureRules;
use fairway_netns::socket::{Listen, ReusePort, Transparency};
use fairway_netns::{Namespace, NetnsError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::sockopt::socket_acceptconn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// The listening sockets of one pod: outbound, plaintext inbound, HBONE.
#[derive(Debug)]
pub struct Listeners(pub(super) [(Direction, TcpListener); 3]);

impl Listeners {
    pub(crate) async fn open(namespace: &Namespace, rules: &CaptureRules) -> Result<Self, NetnsError> {
        Ok(Self([
            (Direction::Outbound, for_program(listen(namespace, rules.outbound_port).await?)),
            (Direction::Plaintext, listen(namespace, rules.inbound_port).await?),
            (Direction::Inbound, listen(namespace, rules.hbone_port).await?),
        ]))
    }

    /// Duplicates the descriptors: both sets accept from the same queues.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        let Self([(first, one), (second, two), (third, three)]) = self;
        Ok(Self([(*first, one.try_clone()?), (*second, two.try_clone()?), (*third, three.try_clone()?)]))
    }

    /// The descriptors in the order of the handoff: outbound, plaintext, HBONE.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        let Self([(_, one), (_, two), (_, three)]) = self;
        [one.as_fd(), two.as_fd(), three.as_fd()]
    }

    /// Takes the descriptors of a handoff, in the order of [`Self::descriptors`]. Fails if one is no listening socket.
    pub(crate) fn inherit(sockets: [OwnedFd; 3]) -> io::Result<Self> {
        let [outbound, plaintext, hbone] = sockets;
        for socket in [&outbound, &plaintext, &hbone] {
            if !socket_acceptconn(socket)? {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a listening socket"));
            }
        }
        Ok(Self([
            (Direction::Outbound, for_program(outbound.into())),
            (Direction::Plaintext, plaintext.into()),
            (Direction::Inbound, hbone.into()),
        ]))
    }
}

/// Bounds what programs send at once.
fn for_program(listener: TcpListener) -> TcpListener {
    program_socket::bound(&listener);
    listener
}

async fn listen(namespace: &Namespace, port: u16) -> Result<TcpListener, NetnsError> {
    let wanted = |ip| Listen {
        address: SocketAddr::new(ip, port),
        backlog: 4096,
        // Without a handoff, the next tunnel process opens the same ports while this one still holds them.
        reuse_port: ReusePort::Shared,
        transparency: Transparency::Opaque,
        mark: None,
    };
    match namespace.listen(wanted(IpAddr::V6(Ipv6Addr::UNSPECIFIED))).await {
        // A pod without IPv6 has only IPv4. A port that is in use is in use for both.
        Err(NetnsError::Socket { source, .. }) if source.kind() != io::ErrorKind::AddrInUse => {
            namespace.listen(wanted(IpAddr::V4(Ipv4Addr::UNSPECIFIED))).await
        }
        listener => listener,
    }
}
