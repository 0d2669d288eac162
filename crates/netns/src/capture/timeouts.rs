//! How long the kernel remembers a connection of which one side has ended: as long as one that is open.
//!
//! By itself it forgets one when nobody says anything for a minute. So it is with what a killed tunnel leaves behind: a program that does
//! not read does not notice, and what it says minutes later is not translated any more. It would leave the pod for where the
//! program thinks it goes, in plaintext. (A tunnel that lives has its kernel ask every connection for a sign of life.)

use crate::netlink::{Attribute, Connection, Family, Message, NetlinkError, flags};

/// Five days, as the kernel has it for open connections.
const SECONDS: u32 = 5 * 24 * 60 * 60;

/// Constants of `linux/netfilter/nfnetlink_cttimeout.h` that `libc` does not have.
mod timeout {
    pub(super) const SUBSYSTEM: u16 = 8;
    pub(super) const SET_DEFAULTS: u16 = 3;
    pub(super) const NETWORK: u16 = 2;
    pub(super) const TRANSPORT: u16 = 3;
    pub(super) const DATA: u16 = 4;
    pub(super) const FIN_WAIT: u16 = 4;
    pub(super) const CLOSE_WAIT: u16 = 5;
}

/// Has it remember them in this namespace.
pub(super) fn lengthen() -> Result<(), NetlinkError> {
    const TCP: u8 = 6;
    let seconds =
        [timeout::FIN_WAIT, timeout::CLOSE_WAIT].map(|state| Attribute::be32(state, SECONDS)).to_vec();
    Connection::open(Family::Netfilter)?.execute(&Message {
        what: "remember half-closed connections".to_owned(),
        kind: timeout::SUBSYSTEM << 8 | timeout::SET_DEFAULTS,
        flags: flags::ACK,
        fixed: vec![libc::AF_INET as u8, 0, 0, 0],
        attributes: vec![
            // They hold for both; one has to be named.
            Attribute::bytes(timeout::NETWORK, (libc::AF_INET as u16).to_be_bytes()),
            Attribute::bytes(timeout::TRANSPORT, [TCP]),
            Attribute::nested(timeout::DATA, seconds),
        ],
    })
}
