//! The header of the PROXY protocol, versions 1 and 2, with which a proxy says at the beginning of a connection where its client is
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).
//!
//! What follows the header is somebody else's: a TLS handshake, a request. So [`HeaderReader`] says how many bytes of those that are there
//! belong to the header, and no more than those may be read off the connection.

mod block;
mod line;

use std::net::IpAddr;

/// Bytes of a header of version 1 at most, with the end of its line.
pub const LONGEST_LINE: usize = 107;
/// Bytes of a header of version 2 at most. There is no end to what may follow the addresses, and no use for it.
pub const LONGEST_BLOCK: usize = 536;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const WORD: &[u8] = b"PROXY ";

/// Where the client of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The peer itself is the client, or does not know where its client is: a health check, for one.
    Peer,
    /// It is at this address.
    Client(IpAddr),
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// They begin like neither version.
    #[error("the connection does not begin with a header of the PROXY protocol")]
    NotProxy,
    /// It is not as its version asks for.
    #[error("the header of the PROXY protocol is malformed: {0}")]
    Malformed(&'static str),
    /// It is longer than the limit of its version.
    #[error("the header of the PROXY protocol is too long")]
    TooLong,
    /// What the client speaks is not TCP over IP.
    #[error("the header of the PROXY protocol has an address that is not one of TCP over IP")]
    UnknownFamily,
}

/// Reads a header that comes in pieces.
#[derive(Clone, Debug)]
pub struct HeaderReader {
    /// As far as it is kept: what follows the addresses of version 2 is not.
    bytes: [u8; LONGEST_LINE],
    end: usize,
    part: Part,
}

/// How far a header is.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// Its version is not known yet.
    Start,
    /// Version 1: a line.
    Line,
    /// The fixed part of version 2.
    Block,
    /// The rest of version 2, of which so many bytes are to come.
    Rest { left: usize },
}

// === impl HeaderReader ===

impl HeaderReader {
    /// Takes of the next bytes those that belong to the header. Says how many these are, and where the client is once the header is whole.
    /// As long as it is not whole, all of them belong to it.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(usize, Option<ProxyHeader>), BadHeader> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(self.wanted()));
            rest = behind;
            if let Some(header) = self.read(piece)? {
                return Ok((bytes.len() - rest.len(), Some(header)));
            }
        }
        Ok((bytes.len(), None))
    }

    /// So many of the next bytes belong to the header for certain; at least one before it is whole.
    fn wanted(&self) -> usize {
        match self.part {
            Part::Start => SIGNATURE.len().saturating_sub(self.end),
            // The two bytes of its end, or the second of them.
            Part::Line if self.kept().last() == Some(&b'\r') => 1,
            Part::Line => 2,
            Part::Block => block::FIXED.saturating_sub(self.end),
            Part::Rest { left } => left,
        }
    }

    /// Reads bytes that belong to the header. Says where the client is once it is whole.
    fn read(&mut self, piece: &[u8]) -> Result<Option<ProxyHeader>, BadHeader> {
        let free = self.bytes.get_mut(self.end..).unwrap_or_default();
        free.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
        self.end = (self.end + piece.len()).min(self.bytes.len());
        if let Part::Rest { left } = &mut self.part {
            *left = left.saturating_sub(piece.len());
        }
        if let Part::Start = self.part {
            self.part = self.begin()?;
        }
        match self.part {
            Part::Start => Ok(None),
            Part::Line => self.read_line(),
            Part::Block => self.read_block(),
            Part::Rest { left } => self.read_rest(left),
        }
    }

    fn kept(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    /// What the first bytes are the beginning of. What can be of neither version is refused at once.
    fn begin(&self) -> Result<Part, BadHeader> {
        let bytes = self.kept();
        let is_whole = bytes.len() >= SIGNATURE.len();
        if SIGNATURE.starts_with(bytes) {
            Ok(if is_whole { Part::Block } else { Part::Start })
        } else if WORD.starts_with(bytes) || bytes.starts_with(WORD) {
            // A line that ends so soon is none.
            let has_ended = bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
            Ok(if is_whole || has_ended { Part::Line } else { Part::Start })
        } else {
            Err(BadHeader::NotProxy)
        }
    }

    fn read_line(&self) -> Result<Option<ProxyHeader>, BadHeader> {
        let bytes = self.kept();
        match line::end(bytes)? {
            Some(text) => line::read(text).map(Some),
            None if bytes.len() >= LONGEST_LINE => Err(BadHeader::TooLong),
            None => Ok(None),
        }
    }

    fn read_block(&mut self) -> Result<Option<ProxyHeader>, BadHeader> {
        let Some(length) = block::length(self.kept())? else { return Ok(None) };
        if block::FIXED + length > LONGEST_BLOCK {
            return Err(BadHeader::TooLong);
        }
        self.part = Part::Rest { left: length };
        self.read_rest(length)
    }

    fn read_rest(&self, left: usize) -> Result<Option<ProxyHeader>, BadHeader> {
        if left > 0 { Ok(None) } else { block::read(self.kept()).map(Some) }
    }
}

impl Default for HeaderReader {
    fn default() -> Self {
        Self { bytes: [0; LONGEST_LINE], end: 0, part: Part::Start }
    }
}

#[cfg(test)]
mod tests;
