//! What a rule can say, and how the kernel spells it.
//!
//! The numbers are those of `linux/netfilter/nf_tables.h`. Only what [`super::ruleset`] says is here.

use super::older::{self, End};
use crate::IpFamily;
use crate::netlink::Attribute;
use crate::socket::Mark;

/// One part of a rule. A rule does what it says up to the first part that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// The packet carries this mark.
    MarkIs(Mark),
    /// It came in by the loopback device.
    FromLoopback,
    /// It goes out by the loopback device.
    ToLoopback,
    /// Matches packets of TCP.
    Tcp,
    /// It is TCP that opens a connection: SYN without ACK, whatever other flags it has.
    Opening,
    /// It is TCP that refuses or breaks a connection: RST.
    Refusing,
    /// Matches packets with this source port.
    SourcePortIs(u16),
    /// Matches packets with this destination port.
    PortIs(u16),
    /// To any port but this.
    PortIsNot(u16),
    /// It answers a connection's opener.
    Reply,
    /// It does not fit into its connection, as far as the kernel can see.
    Invalid,
    /// Its connection carries this mark.
    ConnectionMarkIs(Mark),
    /// A socket of this host waits for it, or has it already.
    SomebodyListens,
    /// The socket of this host that it is for carries this mark.
    SocketMarkIs(Mark),
    /// A redirect changed where its connection goes. It does not hold for a packet that the kernel takes for no part of a
    /// connection; so no rule asks for the contrary, which would not hold for it either.
    Redirected,
    /// It is of a connection that is older than the rules. This host's end is its source or its destination.
    IsOlder(IpFamily, End),
    /// Sets the packet's mark.
    SetMark(Mark),
    /// Sets the mark of the packet's connection.
    SetConnectionMark(Mark),
    /// Leave it as it is.
    Accept,
    /// Drops the packet, and its sender hears nothing.
    Drop,
    /// Send its connection to this port of this host.
    Redirect(u16),
    /// Answers the packet with a TCP RST and drops it.
    Reset,
}

/// Where a value is kept between the expressions of a rule.
const REGISTER: u32 = 1;
const LOOPBACK_INDEX: u32 = 1;
const TCP: u8 = 6;

/// Registers of four bytes, for keys of several parts; the one above is the first four of them.
const SHORT_REGISTER: u32 = 8;
const SHORT_REGISTERS_IN_ONE: u32 = 4;

const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;

mod meta {
    pub(super) const MARK: u32 = 3;
    pub(super) const IN: u32 = 4;
    pub(super) const OUT: u32 = 5;
    pub(super) const FAMILY: u32 = 15;
    pub(super) const PROTOCOL: u32 = 16;
}

mod payload {
    pub(super) const NETWORK: u32 = 1;
    pub(super) const TRANSPORT: u32 = 2;
}

mod socket {
    pub(super) const TRANSPARENT: u32 = 0;
    pub(super) const MARK: u32 = 1;
}

mod connection {
    pub(super) const STATE: u32 = 0;
    pub(super) const INVALID: u32 = 1;
    pub(super) const DIRECTION: u32 = 1;
    pub(super) const STATUS: u32 = 2;
    pub(super) const MARK: u32 = 3;
    pub(super) const IS_REPLY: u8 = 1;
    pub(super) const DESTINATION_CHANGED: u32 = 1 << 5;
}

mod tcp {
    pub(super) const SOURCE_PORT: (u32, u32) = (0, 2);
    pub(super) const DESTINATION_PORT: (u32, u32) = (2, 2);
    pub(super) const FLAGS: (u32, u32) = (13, 1);
    pub(super) const SYN: u8 = 0x02;
    pub(super) const RST: u8 = 0x04;
    pub(super) const SYN_ACK: u8 = 0x12;
}

// === impl Statement ===

impl Statement {
    /// The kernel's expressions for it.
    pub(super) fn expressions(self) -> Vec<Attribute> {
        match self {
            Self::MarkIs(Mark(mark)) => vec![load_meta(meta::MARK), compare(EQUAL, &mark.to_ne_bytes())],
            Self::FromLoopback => vec![load_meta(meta::IN), compare(EQUAL, &LOOPBACK_INDEX.to_ne_bytes())],
            Self::ToLoopback => vec![load_meta(meta::OUT), compare(EQUAL, &LOOPBACK_INDEX.to_ne_bytes())],
            Self::Tcp => vec![load_meta(meta::PROTOCOL), compare(EQUAL, &[TCP])],
            Self::Opening => {
                vec![load_tcp(tcp::FLAGS), mask(&[tcp::SYN_ACK]), compare(EQUAL, &[tcp::SYN])]
            }
            Self::Refusing => {
                vec![load_tcp(tcp::FLAGS), mask(&[tcp::RST]), compare(EQUAL, &[tcp::RST])]
            }
            Self::SourcePortIs(port) => vec![load_tcp(tcp::SOURCE_PORT), compare(EQUAL, &port.to_be_bytes())],
            Self::PortIs(port) => vec![load_tcp(tcp::DESTINATION_PORT), compare(EQUAL, &port.to_be_bytes())],
            Self::PortIsNot(port) => {
                vec![load_tcp(tcp::DESTINATION_PORT), compare(NOT_EQUAL, &port.to_be_bytes())]
            }
            Self::Reply => {
                vec![load_connection(connection::DIRECTION), compare(EQUAL, &[connection::IS_REPLY])]
            }
            Self::Invalid => vec![
                load_connection(connection::STATE),
                mask(&connection::INVALID.to_ne_bytes()),
                compare(NOT_EQUAL, &0u32.to_ne_bytes()),
            ],
            Self::ConnectionMarkIs(Mark(mark)) => {
                vec![load_connection(connection::MARK), compare(EQUAL, &mark.to_ne_bytes())]
            }
            // Ends the rule if there is none; what it tells of one that there is does not matter.
            Self::SomebodyListens => vec![load_socket(socket::TRANSPARENT)],
            Self::SocketMarkIs(Mark(mark)) => {
                vec![load_socket(socket::MARK), compare(EQUAL, &mark.to_ne_bytes())]
            }
            Self::Redirected => vec![
                load_connection(connection::STATUS),
                mask(&connection::DESTINATION_CHANGED.to_ne_bytes()),
                compare(NOT_EQUAL, &0u32.to_ne_bytes()),
            ],
            Self::IsOlder(family, here) => is_older(family, here),
            Self::SetMark(Mark(mark)) => vec![immediate(&mark.to_ne_bytes()), store_meta(meta::MARK)],
            Self::SetConnectionMark(Mark(mark)) => {
                vec![immediate(&mark.to_ne_bytes()), store_connection(connection::MARK)]
            }
            Self::Accept => vec![verdict(ACCEPT)],
            Self::Drop => vec![verdict(DROP)],
            Self::Redirect(port) => vec![immediate(&port.to_be_bytes()), redirect()],
            Self::Reset => vec![reset()],
        }
    }
}

/// Its family, and its ends in the order of the keys: this host's address, the other's, this host's port, the other's.
fn is_older(family: IpFamily, here: End) -> Vec<Attribute> {
    let (source, destination, length) = match family {
        IpFamily::IPv4 => (12, 16, 4),
        IpFamily::IPv6 => (8, 24, 16),
    };
    let ends = [(source, tcp::SOURCE_PORT), (destination, tcp::DESTINATION_PORT)];
    let [here, there] = match here {
        End::Source => ends,
        End::Destination => [ends[1], ends[0]],
    };
    let words = length / 4;
    vec![
        load_meta(meta::FAMILY),
        compare(EQUAL, &[family.number()]),
        load_part(payload::NETWORK, (here.0, length), 0),
        load_part(payload::NETWORK, (there.0, length), words),
        load_part(payload::TRANSPORT, here.1, 2 * words),
        load_part(payload::TRANSPORT, there.1, 2 * words + 1),
        expression("lookup", vec![Attribute::text(1, older::set_name(family)), Attribute::be32(2, REGISTER)]),
    ]
}

/// Loads part of a packet into the short register of this number, called as the kernel calls it back: by the long one that
/// begins there, if one does.
fn load_part(base: u32, (offset, length): (u32, u32), number: u32) -> Attribute {
    let register = match number % SHORT_REGISTERS_IN_ONE {
        0 => REGISTER + number / SHORT_REGISTERS_IN_ONE,
        _ => SHORT_REGISTER + number,
    };
    load(base, (offset, length), register)
}

fn expression(name: &str, data: Vec<Attribute>) -> Attribute {
    const LIST_ELEMENT: u16 = 1;
    const NAME: u16 = 1;
    const DATA: u16 = 2;
    Attribute::nested(LIST_ELEMENT, vec![Attribute::text(NAME, name), Attribute::nested(DATA, data)])
}

fn value(kind: u16, bytes: &[u8]) -> Attribute {
    const VALUE: u16 = 1;
    Attribute::nested(kind, vec![Attribute::bytes(VALUE, bytes)])
}

fn load_meta(key: u32) -> Attribute {
    expression("meta", vec![Attribute::be32(1, REGISTER), Attribute::be32(2, key)])
}

fn store_meta(key: u32) -> Attribute {
    expression("meta", vec![Attribute::be32(2, key), Attribute::be32(3, REGISTER)])
}

fn load_connection(key: u32) -> Attribute {
    expression("ct", vec![Attribute::be32(1, REGISTER), Attribute::be32(2, key)])
}

fn store_connection(key: u32) -> Attribute {
    expression("ct", vec![Attribute::be32(2, key), Attribute::be32(4, REGISTER)])
}

fn load_socket(key: u32) -> Attribute {
    expression("socket", vec![Attribute::be32(1, key), Attribute::be32(2, REGISTER)])
}

fn load_tcp(part: (u32, u32)) -> Attribute {
    load(payload::TRANSPORT, part, REGISTER)
}

fn load(base: u32, (offset, length): (u32, u32), register: u32) -> Attribute {
    expression(
        "payload",
        vec![
            Attribute::be32(1, register),
            Attribute::be32(2, base),
            Attribute::be32(3, offset),
            Attribute::be32(4, length),
        ],
    )
}

fn compare(operator: u32, bytes: &[u8]) -> Attribute {
    expression("cmp", vec![Attribute::be32(1, REGISTER), Attribute::be32(2, operator), value(3, bytes)])
}

fn mask(bits: &[u8]) -> Attribute {
    expression(
        "bitwise",
        vec![
            Attribute::be32(1, REGISTER),
            Attribute::be32(2, REGISTER),
            Attribute::be32(3, bits.len() as u32),
            value(4, bits),
            value(5, &vec![0; bits.len()]),
        ],
    )
}

fn immediate(bytes: &[u8]) -> Attribute {
    expression("immediate", vec![Attribute::be32(1, REGISTER), value(2, bytes)])
}

const DROP: u32 = 0;
const ACCEPT: u32 = 1;

fn verdict(code: u32) -> Attribute {
    const VERDICT_REGISTER: u32 = 0;
    const VERDICT: u16 = 2;
    const CODE: u16 = 1;
    let verdict = Attribute::nested(VERDICT, vec![Attribute::be32(CODE, code)]);
    expression("immediate", vec![Attribute::be32(1, VERDICT_REGISTER), Attribute::nested(2, vec![verdict])])
}

fn redirect() -> Attribute {
    expression("redir", vec![Attribute::be32(1, REGISTER)])
}

fn reset() -> Attribute {
    const TCP_RESET: u32 = 1;
    expression("reject", vec![Attribute::be32(1, TCP_RESET)])
}
