//! Messages, there and back.

use super::Attribute;

/// What is asked of a message beyond its type.
pub(crate) mod flags {
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    pub(crate) const DUMP_INTERRUPTED: u16 = 0x10;
    pub(crate) const REPLACE: u16 = 0x100;
    pub(crate) const EXCLUSIVE: u16 = 0x200;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const CREATE: u16 = 0x400;
    pub(crate) const APPEND: u16 = 0x800;
    /// Of an error: the message that failed is not repeated in it.
    pub(super) const CAPPED: u16 = 0x100;
    /// Of an error: it carries an explanation.
    pub(super) const EXPLAINED: u16 = 0x200;
}

pub(super) const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// What it is for, in an error: "cannot {what}".
    pub(crate) what: String,
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    /// The fixed part that this kind of message begins with.
    pub(crate) fixed: Vec<u8>,
    pub(crate) attributes: Vec<Attribute>,
}

/// A message from the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

/// What a message from the kernel means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Acknowledged,
    Refused { errno: i32, detail: Option<String> },
    Done,
    Reply(Reply),
}

/// The sequence number of what it answers, flags, and what it means.
pub(super) type ReceivedMessage = (u32, u16, Received);

// === impl Reply ===

impl Reply {
    /// What follows the fixed part of a netfilter message.
    pub(crate) fn attributes(&self) -> Option<&[u8]> {
        self.body.get(4..)
    }
}

// === impl Message ===

impl Message {
    pub(crate) fn encode(&self, sequence: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; 4]);
        out.extend(self.kind.to_ne_bytes());
        out.extend((self.flags | flags::REQUEST).to_ne_bytes());
        out.extend(sequence.to_ne_bytes());
        out.extend([0; 4]);
        out.extend(&self.fixed);
        out.resize(out.len().next_multiple_of(4), 0);
        for attribute in &self.attributes {
            attribute.encode(out);
        }
        let length = (out.len() - start) as u32;
        if let Some(field) = out.get_mut(start..start + 4) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
    }
}

/// The messages of one datagram: `(sequence, flags, what it means)`. `None` for one that is not well formed.
pub(super) fn received(mut datagram: &[u8]) -> impl Iterator<Item = Option<ReceivedMessage>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let parsed = split(datagram);
        datagram = parsed.as_ref().map(|(_, rest)| *rest).unwrap_or_default();
        Some(parsed.map(|(message, _)| message))
    })
}

fn split(datagram: &[u8]) -> Option<(ReceivedMessage, &[u8])> {
    let length = u32_at(datagram, 0)? as usize;
    let kind = u16_at(datagram, 4)?;
    let flags = u16_at(datagram, 6)?;
    let sequence = u32_at(datagram, 8)?;
    let body = datagram.get(HEADER..length)?;
    let meaning = match kind {
        ERROR => match i32::from_ne_bytes(*body.first_chunk()?) {
            0 => Received::Acknowledged,
            error => Received::Refused { errno: error.saturating_neg(), detail: explanation(body, flags) },
        },
        // A dump that fails half-way ends in a DONE that carries the error.
        DONE => match body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
            Some(error) if error < 0 => Received::Refused { errno: error.saturating_neg(), detail: None },
            _ => Received::Done,
        },
        _ => Received::Reply(Reply { kind, body: body.to_vec() }),
    };
    let rest = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some(((sequence, flags, meaning), rest))
}

fn explanation(body: &[u8], flags: u16) -> Option<String> {
    const TEXT: u16 = 1;
    if flags & flags::EXPLAINED == 0 {
        return None;
    }
    let repeated = if flags & flags::CAPPED != 0 { HEADER } else { u32_at(body, 4)? as usize };
    let tail = body.get(4 + repeated.next_multiple_of(4)..)?;
    let (_, text) = super::attributes(tail).find(|(kind, _)| *kind == TEXT)?;
    Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|value| u16::from_ne_bytes(*value))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|value| u32::from_ne_bytes(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut out = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(flags.to_ne_bytes());
        out.extend(7u32.to_ne_bytes());
        out.extend([0; 4]);
        out.extend(body);
        out
    }

    #[test]
    fn a_refusal_comes_with_the_kernels_words() {
        let mut body = (-1i32).to_ne_bytes().to_vec();
        body.extend([0; HEADER]);
        Attribute::text(1, "no such thing").encode(&mut body);
        let datagram = answer(ERROR, flags::CAPPED | flags::EXPLAINED, &body);
        let all: Vec<_> = received(&datagram).collect();
        let detail = Some("no such thing".to_owned());
        assert_eq!(
            all,
            [Some((7, flags::CAPPED | flags::EXPLAINED, Received::Refused { errno: 1, detail }))]
        );
    }

    #[test]
    fn several_messages_in_one_datagram_are_told_apart() {
        let mut datagram = answer(ERROR, 0, &0i32.to_ne_bytes());
        datagram.extend(answer(DONE, 0, &0i32.to_ne_bytes()));
        let all: Vec<_> = received(&datagram).map(|message| message.unwrap().2).collect();
        assert_eq!(all, [Received::Acknowledged, Received::Done]);
    }

    #[test]
    fn a_cut_off_message_is_no_message() {
        let datagram = answer(DONE, 0, &[0; 8]);
        for end in 1..datagram.len() {
            assert_eq!(received(&datagram[..end]).collect::<Vec<_>>(), [None], "cut at {end}");
        }
    }
}
