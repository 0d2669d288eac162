//! Version 1: `PROXY TCP4 203.0.113.7 192.0.2.1 51234 443` and the end of a line.

use super::{BadHeader, ProxyHeader, WORD};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

const MALFORMED: BadHeader = BadHeader::Malformed("it is not `PROXY`, a family, two addresses and two ports");

/// The text of a line that has ended; none as long as it has not. A line ends with both bytes and has neither of them before.
pub(super) fn end(bytes: &[u8]) -> Result<Option<&[u8]>, BadHeader> {
    let Some(at) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else { return Ok(None) };
    match bytes.get(at..) {
        Some(b"\r") => Ok(None),
        Some([b'\r', b'\n', ..]) => Ok(bytes.get(..at)),
        _ => Err(BadHeader::Malformed("its line does not end with CR LF")),
    }
}

/// What a line says.
pub(super) fn read(text: &[u8]) -> Result<ProxyHeader, BadHeader> {
    let text = text.strip_prefix(WORD).and_then(|it| std::str::from_utf8(it).ok()).ok_or(MALFORMED)?;
    let mut words = text.split(' ');
    match words.next() {
        // Whatever else it says.
        Some("UNKNOWN") => Ok(ProxyHeader::Peer),
        Some("TCP4") => addresses::<Ipv4Addr>(words),
        Some("TCP6") => addresses::<Ipv6Addr>(words),
        _ => Err(BadHeader::UnknownFamily),
    }
}

fn addresses<'a, A: FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'a str>,
) -> Result<ProxyHeader, BadHeader> {
    let mut address = || words.next()?.parse::<A>().ok();
    let source: IpAddr = address().zip(address()).map(|(source, _)| source.into()).ok_or(MALFORMED)?;
    let mut is_port = || words.next().is_some_and(is_port);
    if is_port() && is_port() && words.next().is_none() {
        Ok(ProxyHeader::Client(source.to_canonical()))
    } else {
        Err(MALFORMED)
    }
}

/// Digits without a sign and without a 0 before them.
fn is_port(text: &str) -> bool {
    text.bytes().all(|it| it.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
        && text.parse::<u16>().is_ok()
}
