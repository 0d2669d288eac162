//! A listener's UDP socket. What it answers comes from the address the client has sent to, also where it is bound to all.

use nix::cmsg_space;
use nix::libc::{in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmsg, sendmmsg,
    setsockopt,
};
use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Bytes of the longest datagram.
pub const LONGEST: usize = 64 * 1024;

/// The UDP socket of a listener on one worker.
pub struct ListeningSocket {
    io: UdpSocket,
    bound: Bound,
    /// Buffer for the destination address of a received datagram (`IP_PKTINFO`).
    control: RefCell<Vec<u8>>,
    /// Buffer for the source address of a sent datagram.
    headers: RefCell<MultiHeaders<SockaddrStorage>>,
}

/// Where a socket is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// One address, which is the source of everything it sends.
    One,
    /// All addresses, IPv6 and IPv4.
    Every,
    /// All IPv4 addresses, and none of IPv6.
    EveryV4,
}

/// A client: who sends, and the address it sends to where that may be one of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// Its address and port.
    pub client: SocketAddr,
    /// The address it sends to.
    pub local: Option<IpAddr>,
}

// === impl ListeningSocket ===

impl ListeningSocket {
    /// From a socket that is bound.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let bound = match socket.local_addr()?.ip() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
                Bound::Every
            }
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
                setsockopt(&socket, Ipv4PacketInfo, &true)?;
                Bound::EveryV4
            }
            _ => Bound::One,
        };
        let room = match bound {
            Bound::One => None,
            Bound::Every => Some(cmsg_space!(in6_pktinfo)),
            Bound::EveryV4 => Some(cmsg_space!(in_pktinfo)),
        };
        Ok(Self {
            io: UdpSocket::from_std(socket)?,
            bound,
            control: RefCell::new(room.clone().unwrap_or_default()),
            headers: RefCell::new(MultiHeaders::preallocate(1, room)),
        })
    }

    /// Waits until there may be something to receive.
    pub async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Receives a datagram: its length, and whose it is.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, ClientKey)> {
        self.io.try_io(Interest::READABLE, || self.receive(self.io.as_raw_fd(), buffer))
    }

    fn receive(&self, socket: RawFd, buffer: &mut [u8]) -> io::Result<(usize, ClientKey)> {
        let mut control = self.control.borrow_mut();
        let mut slices = [IoSliceMut::new(buffer)];
        let received =
            recvmsg::<SockaddrStorage>(socket, &mut slices, Some(&mut control), MsgFlags::empty())?;
        let client = received.address.as_ref().and_then(address).ok_or(io::ErrorKind::InvalidData)?;
        let local = match self.bound {
            Bound::One => None,
            _ => received.cmsgs()?.find_map(|it| match it {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    Some(IpAddr::V4(u32::from_be(info.ipi_spec_dst.s_addr).into()))
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::V6(info.ipi6_addr.s6_addr.into())),
                _ => None,
            }),
        };
        Ok((received.bytes, ClientKey { client, local }))
    }

    /// Sends a datagram to a client, from the address the client knows; does not wait.
    pub fn send(&self, bytes: &[u8], to: &ClientKey) -> io::Result<()> {
        let (v4, v6);
        let from = match (self.bound, to.local) {
            (Bound::EveryV4, Some(IpAddr::V4(local))) => {
                v4 = in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: nix::libc::in_addr { s_addr: u32::from(local).to_be() },
                    ipi_addr: nix::libc::in_addr { s_addr: 0 },
                };
                Some(ControlMessage::Ipv4PacketInfo(&v4))
            }
            // Of clients that came by IPv4 too: their addresses are mapped ones then.
            (Bound::Every, Some(IpAddr::V6(local))) => {
                v6 = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: local.octets() }, ipi6_ifindex: 0 };
                Some(ControlMessage::Ipv6PacketInfo(&v6))
            }
            _ => None,
        };
        let slices = [[IoSlice::new(bytes)]];
        let addresses = [Some(SockaddrStorage::from(to.client))];
        // The one for many datagrams, since it takes its room from its caller.
        let mut headers = self.headers.borrow_mut();
        let socket = self.io.as_raw_fd();
        sendmmsg(socket, &mut headers, &slices, addresses, from.as_slice(), MsgFlags::empty())?;
        Ok(())
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|it| SocketAddrV4::from(*it).into());
    v4.or_else(|| storage.as_sockaddr_in6().map(|it| SocketAddrV6::from(*it).into()))
}

impl fmt::Debug for ListeningSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListeningSocket").field("bound", &self.bound).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn exchange(bind: &str, client: &str, to: &str) {
        let listening = std::net::UdpSocket::bind(bind).unwrap();
        listening.set_nonblocking(true).unwrap();
        let port = listening.local_addr().unwrap().port();
        let listening = ListeningSocket::new(listening).unwrap();
        let client = UdpSocket::bind(client).await.unwrap();
        let to = SocketAddr::new(to.parse().unwrap(), port);
        let mut buffer = vec![0; LONGEST];
        for text in [&b"question"[..], &[7; 60_000], b""] {
            client.send_to(text, to).await.unwrap();
            let (length, key) = loop {
                listening.readable().await.unwrap();
                match listening.try_receive(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    received => break received.unwrap(),
                }
            };
            assert_eq!(&buffer[..length], text);
            listening.send(&buffer[..length], &key).unwrap();
            let (length, from) = client.recv_from(&mut buffer).await.unwrap();
            assert_eq!(
                (&buffer[..length], from),
                (text, to),
                "the answer comes from where the question went"
            );
        }
    }

    #[tokio::test]
    async fn an_answer_comes_from_the_address_that_was_asked() {
        for (bind, client, to) in [
            ("127.0.0.2:0", "127.0.0.1:0", "127.0.0.2"),
            ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.2"),
            ("[::]:0", "[::1]:0", "::1"),
            ("[::]:0", "127.0.0.1:0", "127.0.0.3"),
        ] {
            exchange(bind, client, to).await;
        }
    }
}
