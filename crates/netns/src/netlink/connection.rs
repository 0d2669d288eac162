//! The socket that netlink messages go through.

use super::message::{Received, received};
use super::{Message, NetlinkError, Reply, flags};
use crate::kernel;
use rustix::fd::OwnedFd;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, send, socket_with,
};
use std::io;

/// Which part of the kernel answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Links, addresses, routes, rules.
    Route,
    /// nf_tables and conntrack (`NETLINK_NETFILTER`).
    Netfilter,
    /// What sockets there are.
    Sockets,
}

/// A netlink socket, of the namespace of the thread that opened it.
pub(crate) struct Connection {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

// === impl Connection ===

impl Connection {
    pub(crate) fn open(family: Family) -> Result<Self, NetlinkError> {
        let protocol = match family {
            Family::Route => None, // NETLINK_ROUTE is 0
            Family::Netfilter => Some(netlink::NETFILTER),
            Family::Sockets => Some(netlink::SOCK_DIAG),
        };
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .map_err(io::Error::from)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0)).map_err(io::Error::from)?;
        // Explanations of errors, and no echo of our own message in them. Kernels before 4.12 know neither: so be it.
        let _ = kernel::set_option(&socket, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        let _ = kernel::set_option(&socket, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
        Ok(Self { socket, sequence: 1, buffer: vec![0; 64 * 1024] })
    }

    /// Has one thing done.
    pub(crate) fn execute(&mut self, message: &Message) -> Result<(), NetlinkError> {
        let wanted = Message { flags: message.flags | flags::ACK, ..message.clone() };
        self.ask(&wanted).map(|_| ())
    }

    /// Has one thing told: the replies to a request that is no dump.
    pub(crate) fn ask(&mut self, message: &Message) -> Result<Vec<Reply>, NetlinkError> {
        self.batch(std::slice::from_ref(message))
    }

    /// Sends all messages as one, waits until each that asks for it (`ACK`) is acknowledged, and gives the replies. The
    /// error is that of the first that was refused.
    pub(crate) fn batch(&mut self, messages: &[Message]) -> Result<Vec<Reply>, NetlinkError> {
        let first = self.sequence;
        let mut bytes = Vec::new();
        let mut unanswered = 0usize;
        for message in messages {
            message.encode(self.sequence, &mut bytes);
            self.sequence = self.sequence.wrapping_add(1);
            unanswered += usize::from(message.flags & flags::ACK != 0);
        }
        send(&self.socket, &bytes, SendFlags::empty()).map_err(io::Error::from)?;

        let mut replies = Vec::new();
        let mut refused = None;
        while let Some(datagram) = self.receive()? {
            for message in received(&datagram) {
                let (sequence, _, meaning) = message.ok_or(NetlinkError::Garbled("a message is cut off"))?;
                let index = sequence.wrapping_sub(first) as usize;
                match meaning {
                    Received::Acknowledged => unanswered = unanswered.saturating_sub(1),
                    Received::Refused { errno, detail } => {
                        let what =
                            messages.get(index).map_or("change the kernel's state", |asked| &asked.what);
                        let source = io::Error::from_raw_os_error(errno);
                        refused.get_or_insert(NetlinkError::Refused {
                            what: what.to_owned(),
                            source,
                            detail,
                        });
                    }
                    Received::Reply(reply) => replies.push(reply),
                    Received::Done => {}
                }
            }
        }
        match refused {
            Some(error) => Err(error),
            None if unanswered > 0 => Err(NetlinkError::Garbled("not every message was answered")),
            None => Ok(replies),
        }
    }

    /// Lists what there is. Asks again when it changed meanwhile.
    pub(crate) fn dump(&mut self, message: &Message) -> Result<Vec<Reply>, NetlinkError> {
        const TRIES: u32 = 5;
        for _ in 0..TRIES {
            if let Some(replies) = self.dump_once(message)? {
                return Ok(replies);
            }
        }
        Err(NetlinkError::Garbled("what was listed kept changing"))
    }

    fn dump_once(&mut self, message: &Message) -> Result<Option<Vec<Reply>>, NetlinkError> {
        let wanted = Message { flags: message.flags | flags::DUMP, ..message.clone() };
        let mut bytes = Vec::new();
        wanted.encode(self.sequence, &mut bytes);
        self.sequence = self.sequence.wrapping_add(1);
        send(&self.socket, &bytes, SendFlags::empty()).map_err(io::Error::from)?;

        let mut replies = Vec::new();
        let mut is_interrupted = false;
        while let Some(datagram) = self.receive()? {
            for message in received(&datagram) {
                let (_, flags, meaning) = message.ok_or(NetlinkError::Garbled("a message is cut off"))?;
                is_interrupted |= flags & flags::DUMP_INTERRUPTED != 0;
                match meaning {
                    Received::Reply(reply) => replies.push(reply),
                    Received::Refused { errno, detail } => {
                        let source = io::Error::from_raw_os_error(errno);
                        return Err(NetlinkError::Refused { what: wanted.what, source, detail });
                    }
                    Received::Done | Received::Acknowledged => {}
                }
            }
        }
        Ok((!is_interrupted).then_some(replies))
    }

    /// The next datagram, if there is one already; there is no other kind.
    fn receive(&mut self) -> Result<Option<Vec<u8>>, NetlinkError> {
        let (_, length) =
            match recv(&self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                Ok(received) => received,
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(NetlinkError::Socket(error.into())),
            };
        match self.buffer.get(..length) {
            Some(datagram) => Ok(Some(datagram.to_vec())),
            None => Err(NetlinkError::Garbled("a message is longer than any known")),
        }
    }
}
