//! The three sockets a captured pod is served on, opened in its namespace.

use super::Door;
use fairway_netns::capture::CaptureRules;
use fairway_netns::socket::{Listen, ReusePort, Transparency};
use fairway_netns::{Namespace, NetnsError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::sockopt::socket_acceptconn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// A pod's listeners.
#[derive(Debug)]
pub struct Listeners(pub(super) [(Door, TcpListener); 3]);

impl Listeners {
    pub(crate) async fn open(namespace: &Namespace, rules: &CaptureRules) -> Result<Self, NetnsError> {
        Ok(Self([
            (Door::Outbound, listen(namespace, rules.outbound_port).await?),
            (Door::Plaintext, listen(namespace, rules.inbound_port).await?),
            (Door::Hbone, listen(namespace, rules.hbone_port).await?),
        ]))
    }

    /// The same sockets once more.
    pub(crate) fn another(&self) -> io::Result<Self> {
        let Self([(first, one), (second, two), (third, three)]) = self;
        Ok(Self([(*first, one.try_clone()?), (*second, two.try_clone()?), (*third, three.try_clone()?)]))
    }

    /// As they go to the next version of the tunnel: outbound, plaintext, HBONE.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        let Self([(_, one), (_, two), (_, three)]) = self;
        [one.as_fd(), two.as_fd(), three.as_fd()]
    }

    /// As they come from the version before.
    pub(crate) fn inherit(sockets: [OwnedFd; 3]) -> io::Result<Self> {
        let [outbound, plaintext, hbone] = sockets;
        for socket in [&outbound, &plaintext, &hbone] {
            if !socket_acceptconn(socket)? {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a listening socket"));
            }
        }
        Ok(Self([
            (Door::Outbound, outbound.into()),
            (Door::Plaintext, plaintext.into()),
            (Door::Hbone, hbone.into()),
        ]))
    }
}

async fn listen(namespace: &Namespace, port: u16) -> Result<TcpListener, NetnsError> {
    let wanted = |ip| Listen {
        address: SocketAddr::new(ip, port),
        backlog: 4096,
        // The next version of the tunnel opens the same ports before this one closes them.
        reuse_port: ReusePort::Shared,
        transparency: Transparency::Opaque,
        mark: None,
    };
    match namespace.listen(wanted(IpAddr::V6(Ipv6Addr::UNSPECIFIED))).await {
        // A pod without IPv6. (A port that is taken is taken.)
        Err(NetnsError::Socket { source, .. }) if source.kind() != io::ErrorKind::AddrInUse => {
            namespace.listen(wanted(IpAddr::V4(Ipv4Addr::UNSPECIFIED))).await
        }
        listener => listener,
    }
}
