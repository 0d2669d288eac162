//! Watches the bytes of an HTTP/1 connection for framing that two parsers could read differently (request smuggling).
//!
//! hyper takes a message with both `Transfer-Encoding` and `Content-Length`, repeated equal lengths and bare line
//! feeds, as RFC 9112 lets it. What is behind a proxy may read them otherwise, so the proxy refuses them, and for that
//! it has to see the bytes before hyper has tidied them up. The watcher follows requests from head to head; from the
//! first one it does not like, every request of the connection is refused.

/// Follows the requests of one connection.
#[derive(Debug)]
pub struct Framing {
    state: State,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// Whether empty lines stand before the request that is waited for.
    blank: bool,
    lengths: u8,
    encodings: u8,
    body: u64,
    heads: u64,
    verdict: Option<Refused>,
}

/// The first request that is refused, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its number in the connection, from 0.
    pub request: u64,
    /// What is wrong with it.
    pub reason: Ambiguity,
}

/// Framing that two parsers could read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// A line that ends in LF alone (RFC 9112 §2.2).
    BareLineFeed,
    /// A header line that begins with whitespace (RFC 9112 §5.2).
    FoldedHeader,
    /// Content-Length that is repeated or not a number (RFC 9112 §6.3).
    ContentLength,
    /// Transfer-Encoding that is repeated or anything else than `chunked`.
    TransferEncoding,
    /// Both of them (RFC 9112 §6.1).
    LengthAndEncoding,
    /// A chunk that is not as RFC 9112 §7.1 says.
    Chunk,
    /// A line without end.
    Endless,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a request line; empty lines may come first.
    Start,
    Headers,
    /// So many bytes to pass over.
    Body,
    ChunkSize,
    /// A chunk's bytes and the line end behind them.
    ChunkData,
    Trailers,
    /// After something refused: nothing is looked at any more.
    Blind,
}

/// Longest line that is kept together; hyper refuses heads long before.
const LONGEST_LINE: usize = 128 * 1024;

// === impl Framing ===

impl Framing {
    /// For a connection before its first byte.
    pub fn new() -> Self {
        Self {
            state: State::Start,
            line: Vec::new(),
            blank: false,
            lengths: 0,
            encodings: 0,
            body: 0,
            heads: 0,
            verdict: None,
        }
    }

    /// Whether a head has begun and not ended. Empty lines before a request are its beginning (RFC 9112 §2.2), and what was
    /// refused may have no end: both must not wait longer than a head does.
    pub fn in_head(&self) -> bool {
        match self.state {
            State::Headers | State::Blind => true,
            State::Start => self.blank || !self.line.is_empty(),
            State::Body | State::ChunkSize | State::ChunkData | State::Trailers => false,
        }
    }

    /// What was found wrong so far.
    pub fn verdict(&self) -> Option<Refused> {
        self.verdict
    }

    /// Looks at the next bytes of the connection.
    pub fn watch(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Blind => return,
                State::Body => self.pass(bytes, State::Start),
                State::ChunkData => self.pass(bytes, State::ChunkSize),
                State::Start | State::Headers | State::ChunkSize | State::Trailers => self.take_line(bytes),
            };
        }
    }

    fn pass<'a>(&mut self, bytes: &'a [u8], next: State) -> &'a [u8] {
        let count = usize::try_from(self.body).unwrap_or(usize::MAX).min(bytes.len());
        self.body -= count as u64;
        if self.body == 0 {
            self.state = next;
        }
        bytes.get(count..).unwrap_or_default()
    }

    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.line.extend_from_slice(bytes);
            if self.line.len() > LONGEST_LINE {
                self.refuse(Ambiguity::Endless);
            }
            return &[];
        };
        let (line, rest) = bytes.split_at(end);
        let outcome = if self.line.is_empty() {
            self.on_line(line)
        } else {
            let mut whole = std::mem::take(&mut self.line);
            whole.extend_from_slice(line);
            let outcome = self.on_line(&whole);
            whole.clear();
            self.line = whole;
            outcome
        };
        if let Err(reason) = outcome {
            self.refuse(reason);
        }
        rest.get(1..).unwrap_or_default()
    }

    fn on_line(&mut self, line: &[u8]) -> Result<(), Ambiguity> {
        let line = line.strip_suffix(b"\r").ok_or(Ambiguity::BareLineFeed)?;
        match self.state {
            State::Start if line.is_empty() => {
                self.blank = true;
                Ok(())
            }
            State::Start => {
                self.blank = false;
                (self.lengths, self.encodings, self.body) = (0, 0, 0);
                self.state = State::Headers;
                Ok(())
            }
            State::Headers if line.is_empty() => self.on_head_end(),
            State::Headers => self.on_header(line),
            State::ChunkSize => self.on_chunk_size(line),
            State::Trailers => {
                if line.is_empty() {
                    self.state = State::Start;
                }
                Ok(())
            }
            State::Body | State::ChunkData | State::Blind => Ok(()),
        }
    }

    fn on_header(&mut self, line: &[u8]) -> Result<(), Ambiguity> {
        match line.first() {
            Some(b' ' | b'\t') => return Err(Ambiguity::FoldedHeader),
            // Nothing else begins with the letters of the two that matter.
            Some(b'c' | b'C' | b't' | b'T') => {}
            _ => return Ok(()),
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default().trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths = self.lengths.saturating_add(1);
            self.body = decimal(value).ok_or(Ambiguity::ContentLength)?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.encodings = self.encodings.saturating_add(1);
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguity::TransferEncoding);
            }
        }
        Ok(())
    }

    fn on_head_end(&mut self) -> Result<(), Ambiguity> {
        match (self.lengths, self.encodings) {
            (0, 0) => self.state = State::Start,
            (1, 0) => self.state = if self.body == 0 { State::Start } else { State::Body },
            (0, 1) => self.state = State::ChunkSize,
            (_, 0) => return Err(Ambiguity::ContentLength),
            (0, _) => return Err(Ambiguity::TransferEncoding),
            _ => return Err(Ambiguity::LengthAndEncoding),
        }
        self.heads += 1;
        Ok(())
    }

    fn on_chunk_size(&mut self, line: &[u8]) -> Result<(), Ambiguity> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, rest) = line.split_at(digits);
        if !matches!(rest.trim_ascii_start().first(), None | Some(b';')) {
            return Err(Ambiguity::Chunk);
        }
        match hexadecimal(size).ok_or(Ambiguity::Chunk)? {
            0 => self.state = State::Trailers,
            size => {
                self.body = size.checked_add(2).ok_or(Ambiguity::Chunk)?;
                self.state = State::ChunkData;
            }
        }
        Ok(())
    }

    fn refuse(&mut self, reason: Ambiguity) {
        self.verdict.get_or_insert(Refused { request: self.heads, reason });
        self.state = State::Blind;
        self.line = Vec::new();
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Ambiguity ===

impl Ambiguity {
    /// In words, for the answer and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a line ends without a carriage return",
            Self::FoldedHeader => "a header is folded over lines",
            Self::ContentLength => "Content-Length is repeated or not a number",
            Self::TransferEncoding => "Transfer-Encoding is not exactly `chunked`",
            Self::LengthAndEncoding => "Content-Length and Transfer-Encoding are both there",
            Self::Chunk => "a chunk is malformed",
            Self::Endless => "a line is too long",
        }
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    number(digits, 10)
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    number(digits, 16)
}

fn number(digits: &[u8], radix: u64) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, byte| {
        let digit = char::from(*byte).to_digit(radix as u32)?;
        sum.checked_mul(radix)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verdict(bytes: &[u8]) -> Option<(u64, Ambiguity)> {
        let mut framing = Framing::new();
        framing.watch(bytes);
        framing.verdict().map(|refused| (refused.request, refused.reason))
    }

    #[test]
    fn plain_requests_pass() {
        for text in [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length:0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nt: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length-x: 1\r\nte: trailers\r\n\r\n",
        ] {
            assert_eq!(verdict(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn ambiguous_requests_are_refused_with_the_number_they_have() {
        use Ambiguity::*;
        let table = [
            (
                0,
                LengthAndEncoding,
                "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (
                0,
                LengthAndEncoding,
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n",
            ),
            (0, ContentLength, "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
            (0, ContentLength, "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello"),
            (0, ContentLength, "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello"),
            (0, ContentLength, "POST / HTTP/1.1\r\nContent-Length:\r\n\r\nhello"),
            (0, ContentLength, "POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n"),
            (0, TransferEncoding, "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
            (0, TransferEncoding, "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n"),
            (
                0,
                TransferEncoding,
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (0, FoldedHeader, "GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n"),
            (0, BareLineFeed, "GET / HTTP/1.1\nhost: a\n\n"),
            (0, BareLineFeed, "GET / HTTP/1.1\r\nhost: a\n\r\n"),
            (1, BareLineFeed, "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\n\n"),
            (
                1,
                ContentLength,
                "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}POST / HTTP/1.1\r\ncontent-length: x\r\n",
            ),
            (1, Chunk, "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5 5\r\nhello\r\nx\r\n"),
            (1, Chunk, "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n"),
            (1, Chunk, "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\r\nhello\r\n"),
            (1, Chunk, "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n"),
        ];
        for (request, reason, text) in table {
            assert_eq!(verdict(text.as_bytes()), Some((request, reason)), "{text:?}");
        }
    }

    proptest! {
        /// However the network cuts the bytes, the verdict is the same.
        #[test]
        fn where_reads_end_does_not_matter(
            text in "((GET|POST) / HTTP/1.1\r?\n(Content-Length: [0-9]{0,2}\r\n|Transfer-Encoding: chunked\r\n|x: y\r\n){0,3}\r\n([0-4]\r\n)?[a-z]{0,4}(\r\n)?){1,3}",
            cuts in proptest::collection::vec(1usize..9, 1..40),
        ) {
            let mut framing = Framing::new();
            let mut rest = text.as_bytes();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                framing.watch(now);
                rest = later;
            }
            let pieces = framing.verdict().map(|it| (it.request, it.reason));
            prop_assert_eq!(pieces, verdict(text.as_bytes()));
        }
    }
}
