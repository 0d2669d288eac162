//! Version 2: a signature, the version with a command, a family, a length, the addresses, and whatever else fits into the length.

use super::{BadHeader, ProxyHeader, SIGNATURE};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of the part that every header has.
pub(super) const FIXED: usize = 16;

const OF_V4: usize = 12;
const OF_V6: usize = 36;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// What kind of addresses follow.
enum Family {
    /// None that are looked at.
    None,
    V4,
    V6,
}

/// How many bytes follow the fixed part, once that is there. What will be refused is refused now.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, BadHeader> {
    let Some([command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let least = match self::family(*command, *family)? {
        Family::None => 0,
        Family::V4 => OF_V4,
        Family::V6 => OF_V6,
    };
    if length < least {
        return Err(BadHeader::Malformed("its addresses are longer than its length"));
    }
    Ok(Some(length))
}

/// What a header says that is there to the end of its addresses.
pub(super) fn read(bytes: &[u8]) -> Result<ProxyHeader, BadHeader> {
    const CUT: BadHeader = BadHeader::Malformed("its addresses are cut off");
    let (Some(command), Some(family)) = (bytes.get(12), bytes.get(13)) else { return Err(CUT) };
    let addresses = bytes.get(FIXED..).unwrap_or_default();
    let source: IpAddr = match self::family(*command, *family)? {
        Family::None => return Ok(ProxyHeader::Peer),
        Family::V4 => Ipv4Addr::from(*addresses.first_chunk::<4>().ok_or(CUT)?).into(),
        Family::V6 => Ipv6Addr::from(*addresses.first_chunk::<16>().ok_or(CUT)?).into(),
    };
    Ok(ProxyHeader::Client(source.to_canonical()))
}

fn family(command: u8, family: u8) -> Result<Family, BadHeader> {
    match (command, family) {
        // Whatever else it says.
        (LOCAL, _) => Ok(Family::None),
        // It does not know.
        (PROXY, 0x00..=0x0f) => Ok(Family::None),
        (PROXY, TCP4) => Ok(Family::V4),
        (PROXY, TCP6) => Ok(Family::V6),
        (PROXY, _) => Err(BadHeader::UnknownFamily),
        _ => Err(BadHeader::Malformed("its version or its command is not known")),
    }
}
