//! What a rule can say, and how the kernel spells it.
//!
//! The numbers are those of `linux/netfilter/nf_tables.h`. Only what [`super::ruleset`] says is here.

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
    /// It is TCP.
    Tcp,
    /// It is TCP that opens a connection: SYN without ACK.
    Opening,
    /// It is TCP that refuses or breaks a connection: RST.
    Refusing,
    /// From this port.
    SourcePortIs(u16),
    /// To this port.
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
    /// A redirect changed where its connection goes.
    Redirected,
    /// None did.
    NotRedirected,
    /// Mark it.
    SetMark(Mark),
    /// Mark its connection.
    SetConnectionMark(Mark),
    /// Leave it as it is.
    Accept,
    /// Lose it.
    Drop,
    /// Send its connection to this port of this host.
    Redirect(u16),
    /// Refuse its connection.
    Reset,
}

/// Where a value is kept between the expressions of a rule.
const REGISTER: u32 = 1;
const LOOPBACK_INDEX: u32 = 1;
const TCP: u8 = 6;

const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;

mod meta {
    pub(super) const MARK: u32 = 3;
    pub(super) const IN: u32 = 4;
    pub(super) const OUT: u32 = 5;
    pub(super) const PROTOCOL: u32 = 16;
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
    pub(super) const FIN_SYN_RST_ACK: u8 = 0x17;
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
                vec![load_tcp(tcp::FLAGS), mask(&[tcp::FIN_SYN_RST_ACK]), compare(EQUAL, &[tcp::SYN])]
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
            Self::SomebodyListens => vec![find_socket()],
            Self::Redirected => was_redirected(NOT_EQUAL),
            Self::NotRedirected => was_redirected(EQUAL),
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

fn was_redirected(compared: u32) -> Vec<Attribute> {
    vec![
        load_connection(connection::STATUS),
        mask(&connection::DESTINATION_CHANGED.to_ne_bytes()),
        compare(compared, &0u32.to_ne_bytes()),
    ]
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

/// Ends the rule if there is none; what it tells of one that there is does not matter.
fn find_socket() -> Attribute {
    const TRANSPARENT: u32 = 0;
    expression("socket", vec![Attribute::be32(1, TRANSPARENT), Attribute::be32(2, REGISTER)])
}

fn load_tcp((offset, length): (u32, u32)) -> Attribute {
    const TRANSPORT: u32 = 2;
    expression(
        "payload",
        vec![
            Attribute::be32(1, REGISTER),
            Attribute::be32(2, TRANSPORT),
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
