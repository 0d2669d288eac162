//! Finds the frame heads in a stream of HTTP/2 bytes (RFC 9113 §4.1), and passes over what is between them.

/// Octets of a frame's head.
const HEAD: usize = 9;
/// Octets of the client's connection preface (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// Finds the frame heads of one direction of a connection. It never looks into a payload.
#[derive(Clone, Debug)]
pub struct FrameHeads {
    /// Octets that are no head: the rest of a payload, or of the preface.
    between: usize,
    head: [u8; HEAD],
    have: usize,
}

/// The nine bytes with which each frame begins (RFC 9113 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Octets of its payload.
    pub length: u32,
    /// The frame's type, RFC 9113 section 6.
    pub kind: u8,
    /// The frame's flags; what a bit means depends on the type.
    pub flags: u8,
}

// === impl FrameHeads ===

impl FrameHeads {
    /// Of what a client sends: the preface comes first.
    pub fn of_client() -> Self {
        Self { between: PREFACE, head: [0; HEAD], have: 0 }
    }

    /// Of what a server sends.
    pub fn of_server() -> Self {
        Self { between: 0, head: [0; HEAD], have: 0 }
    }

    /// Looks at the next bytes, and tells each head that is complete in them.
    pub fn watch(&mut self, mut bytes: &[u8], mut found: impl FnMut(FrameHead)) {
        loop {
            if self.between >= bytes.len() {
                self.between -= bytes.len();
                return;
            }
            bytes = bytes.get(self.between..).unwrap_or_default();
            self.between = 0;
            // Most heads are whole.
            let head = match bytes.split_first_chunk::<HEAD>() {
                Some((head, rest)) if self.have == 0 => {
                    bytes = rest;
                    FrameHead::read(head)
                }
                _ => {
                    let count = (HEAD - self.have).min(bytes.len());
                    let (now, rest) = bytes.split_at(count);
                    if let Some(room) = self.head.get_mut(self.have..self.have + count) {
                        room.copy_from_slice(now);
                    }
                    self.have += count;
                    if self.have < HEAD {
                        return;
                    }
                    self.have = 0;
                    bytes = rest;
                    FrameHead::read(&self.head)
                }
            };
            self.between = head.length as usize;
            found(head);
        }
    }

    /// Whether the bytes so far end where a frame ends.
    pub fn is_between_frames(&self) -> bool {
        self.between == 0 && self.have == 0
    }
}

// === impl FrameHead ===

impl FrameHead {
    fn read(head: &[u8; HEAD]) -> Self {
        let [high, middle, low, kind, flags, ..] = *head;
        Self { length: u32::from_be_bytes([0, high, middle, low]), kind, flags }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes of frames: length of the payload, type, flags.
    fn bytes(frames: &[(u16, u8, u8)]) -> Vec<u8> {
        let mut bytes = vec![b'P'; PREFACE];
        for (length, kind, flags) in frames {
            let [high, low] = length.to_be_bytes();
            bytes.extend([0, high, low, *kind, *flags, 0, 0, 0, 1]);
            bytes.extend(vec![0xff; usize::from(*length)]);
        }
        bytes
    }

    proptest! {
        /// However the network cuts the bytes, the frames that were sent are found, and nothing else.
        #[test]
        fn every_head_is_found_wherever_reads_end(
            frames in proptest::collection::vec((0u16..70, any::<u8>(), any::<u8>()), 0..20),
            cuts in proptest::collection::vec(1usize..40, 1..20),
        ) {
            let whole = bytes(&frames);
            let (mut heads, mut found, mut rest) = (FrameHeads::of_client(), Vec::new(), &whole[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                heads.watch(now, |head| found.push((head.length as u16, head.kind, head.flags)));
                rest = later;
            }
            prop_assert_eq!(found, frames);
            prop_assert!(heads.is_between_frames());
        }
    }
}
