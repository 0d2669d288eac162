//! TCP segments made by hand, as whoever has CAP_NET_RAW can send them.

use fairway_netns::socket::Mark;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// The flags of a segment.
#[allow(missing_docs, reason = "as RFC 9293 has them")]
pub mod flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;
}

/// A segment, from whomever to whomever.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Who is said to send it.
    pub source: SocketAddr,
    /// Who is to get it.
    pub destination: SocketAddr,
    /// The flags, a sum of those in [`flags`].
    pub flags: u8,
    /// The sequence number of its first byte.
    pub sequence: u32,
    /// The one that it acknowledges.
    pub acknowledgement: u32,
    /// Options, filled up with zeros.
    pub options: Vec<u8>,
    /// The bytes behind the header.
    pub payload: Vec<u8>,
}

/// How a segment goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The segment is one IP packet.
    Whole,
    /// In two, the flags in the first.
    Fragments,
    /// In two, the flags in the second: the first has only the ports and the sequence number.
    TinyFragments,
    /// With a header in between that means nothing: an IPv4 option, an IPv6 extension header.
    Padded,
}

/// A signature (RFC 2385) that nobody has asked for. A listener loses what carries one, and says nothing.
pub const SIGNATURE: [u8; 18] = [19, 18, 65, 65, 65, 65, 65, 65, 65, 65, 65, 65, 65, 65, 65, 65, 65, 65];

/// Where a fragment's bytes belong.
#[derive(Clone, Copy)]
struct Part {
    offset: u16,
    more: bool,
}

const TCP: u8 = 6;
const RAW: i32 = 255;
const HOPS: u8 = 64;

// === impl Segment ===

impl Segment {
    /// One with these flags and nothing else.
    pub fn new(source: SocketAddr, destination: SocketAddr, flags: u8) -> Self {
        Self {
            source,
            destination,
            flags,
            sequence: 1000,
            acknowledgement: 2000,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// The same with options.
    #[must_use]
    pub fn with_options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// Sends it from this thread's namespace.
    pub fn send(&self, form: Form, mark: Option<Mark>) -> io::Result<()> {
        let socket =
            Socket::new(Domain::for_address(self.destination), Type::RAW, Some(Protocol::from(RAW)))?;
        if let Some(Mark(mark)) = mark {
            socket.set_mark(mark)?;
        }
        for packet in self.packets(form) {
            socket.send_to(&packet, &SockAddr::from(SocketAddr::new(self.destination.ip(), 0)))?;
        }
        Ok(())
    }

    fn packets(&self, form: Form) -> Vec<Vec<u8>> {
        let bytes = self.encode();
        let in_two = |length: usize| {
            let (first, second) = bytes.split_at(length);
            let (first, second) = (
                (first, Part { offset: 0, more: true }),
                (second, Part { offset: length as u16, more: false }),
            );
            [first, second].map(|(bytes, part)| self.packet(bytes, &[], Some(part))).to_vec()
        };
        match form {
            Form::Whole => vec![self.packet(&bytes, &[], None)],
            Form::Padded => {
                let (no_operation, padding) = (&[1; 4], &[TCP, 0, 1, 4, 0, 0, 0, 0]);
                let between: &[u8] = if self.destination.is_ipv4() { no_operation } else { padding };
                vec![self.packet(&bytes, between, None)]
            }
            // Fragments are of eights of bytes.
            Form::Fragments => in_two(16),
            Form::TinyFragments => in_two(8),
        }
    }

    /// A packet with this in it, all or a part, behind IPv4 options or IPv6 options for the destination.
    fn packet(&self, bytes: &[u8], between: &[u8], part: Option<Part>) -> Vec<u8> {
        // Of the two parts of one segment the same, of two segments not.
        let number = self.source.port() ^ u16::from(self.flags) << 8 ^ 0x5a5a;
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                const MORE: u16 = 0x2000;
                let place = part.map_or(0, |it| (it.offset / 8) | if it.more { MORE } else { 0 });
                let length = 20 + between.len();
                let mut packet = vec![0x40 | (length / 4) as u8, 0];
                packet.extend(((length + bytes.len()) as u16).to_be_bytes());
                packet.extend(number.to_be_bytes());
                packet.extend(place.to_be_bytes());
                // The kernel adds up what it sends.
                packet.extend([HOPS, TCP, 0, 0]);
                packet.extend(source.octets());
                packet.extend(destination.octets());
                packet.extend(between);
                packet.extend(bytes);
                packet
            }
            (source, destination) => {
                const FRAGMENT: u8 = 44;
                const OPTIONS: u8 = 60;
                let octets = |ip: IpAddr| match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    IpAddr::V6(ip) => ip.octets(),
                };
                let mut rest = Vec::new();
                if let Some(Part { offset, more }) = part {
                    rest.extend([TCP, 0]);
                    rest.extend((offset | u16::from(more)).to_be_bytes());
                    rest.extend([0, 0]);
                    rest.extend(number.to_be_bytes());
                }
                rest.extend(between);
                rest.extend(bytes);
                let mut packet = vec![0x60, 0, 0, 0];
                packet.extend((rest.len() as u16).to_be_bytes());
                let next = match part {
                    Some(_) => FRAGMENT,
                    None if between.is_empty() => TCP,
                    None => OPTIONS,
                };
                packet.extend([next, HOPS]);
                packet.extend(octets(source));
                packet.extend(octets(destination));
                packet.extend(rest);
                packet
            }
        }
    }

    /// The TCP header and the payload, with the checksum.
    fn encode(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let length = 20 + options.len();
        let mut bytes = Vec::new();
        bytes.extend(self.source.port().to_be_bytes());
        bytes.extend(self.destination.port().to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledgement.to_be_bytes());
        bytes.extend([((length / 4) << 4) as u8, self.flags]);
        bytes.extend(0xffffu16.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(options);
        bytes.extend(&self.payload);
        let sum = self.checksum(&bytes);
        if let Some(field) = bytes.get_mut(16..18) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    /// Over it and its addresses (RFC 9293, 3.1).
    fn checksum(&self, bytes: &[u8]) -> u16 {
        let mut all = Vec::new();
        for ip in [self.source.ip(), self.destination.ip()] {
            match ip {
                IpAddr::V4(ip) => all.extend(ip.octets()),
                IpAddr::V6(ip) => all.extend(ip.octets()),
            }
        }
        all.extend((bytes.len() as u32).to_be_bytes());
        all.extend([0, 0, 0, TCP]);
        all.extend(bytes);
        let mut sum: u32 = 0;
        for pair in all.chunks(2) {
            let low = pair.get(1).copied().unwrap_or_default();
            sum += u32::from(u16::from_be_bytes([pair.first().copied().unwrap_or_default(), low]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

/// What a frame of IP over a cable or loopback says of a segment: its flags, numbers and ports, and where its payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The port that it comes from.
    pub source: u16,
    /// The port that it goes to.
    pub destination: u16,
    /// The flags, a sum of those in [`flags`].
    pub flags: u8,
    /// The sequence number of its first byte.
    pub sequence: u32,
    /// The one that it acknowledges.
    pub acknowledgement: u32,
    /// How much it says.
    pub length: usize,
}

impl Seen {
    /// None if it is no TCP, or has headers in between.
    pub fn read(frame: &[u8]) -> Option<Self> {
        const ETHERNET: usize = 14;
        let packet = frame.get(ETHERNET..)?;
        let number = |bytes: &[u8], at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let (header, length, protocol) = match packet.first()? >> 4 {
            4 => (usize::from(packet.first()? & 0xf) * 4, usize::from(number(packet, 2)?), *packet.get(9)?),
            6 => (40, 40 + usize::from(number(packet, 4)?), *packet.get(6)?),
            _ => return None,
        };
        let segment = packet.get(header..).filter(|_| protocol == TCP)?;
        let long = |at: usize| Some(u32::from_be_bytes(*segment.get(at..)?.first_chunk()?));
        let own = usize::from(segment.get(12)? >> 4) * 4;
        Some(Self {
            source: number(segment, 0)?,
            destination: number(segment, 2)?,
            flags: *segment.get(13)?,
            sequence: long(4)?,
            acknowledgement: long(8)?,
            length: length.checked_sub(header + own)?,
        })
    }
}
