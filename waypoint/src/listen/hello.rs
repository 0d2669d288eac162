//! The first message of a TLS client, read only as far as the name it asks for (RFC 8446 §4.1.2, RFC 6066 §3).
//!
//! Where TLS is not ended here, this is all that is understood of it, so a message that two parsers could read
//! differently is refused: a name that stands twice, lengths that do not add up.

use rustls_pki_types::{DnsName, IpAddr};
use std::sync::Arc;

/// Bytes a client may send before its hello is whole. What browsers send with post-quantum keys is below 2 KiB, and most
/// of what can make one longer are session tickets.
pub const LONGEST: usize = 24 * 1024;

/// A reader that is given bytes as they come.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// Where the next record begins.
    at: usize,
    /// The handshake message so far, put together from the records.
    message: Vec<u8>,
}

/// The part of a ClientHello that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The server name (SNI) in lower case.
    pub server_name: Option<Arc<str>>,
}

/// Why bytes are not a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHello {
    /// The bytes are not a TLS record.
    #[error("this is not TLS")]
    NotTls,
    /// The ClientHello violates RFC 8446, section 4.1.2.
    #[error("the first TLS message is malformed: {0}")]
    Malformed(&'static str),
    /// The ClientHello is longer than the limit.
    #[error("the first TLS message is longer than {LONGEST} bytes")]
    TooLong,
}

const RECORD_HEADER: usize = 5;
const LONGEST_RECORD: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

// === impl HelloReader ===

impl HelloReader {
    /// Looks at all bytes that have come, which begin with those that were given before. None as long as more are needed.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<Hello>, BadHello> {
        loop {
            if let Some(hello) = self.whole()? {
                return Ok(Some(hello));
            }
            let rest = bytes.get(self.at..).unwrap_or_default();
            let Some(length) = record(rest)? else { break };
            let end = RECORD_HEADER + length;
            let Some(fragment) = rest.get(RECORD_HEADER..end) else { break };
            self.message.extend_from_slice(fragment);
            self.at += end;
        }
        if bytes.len() >= LONGEST { Err(BadHello::TooLong) } else { Ok(None) }
    }

    fn whole(&self) -> Result<Option<Hello>, BadHello> {
        match self.message.first() {
            None => return Ok(None),
            Some(&CLIENT_HELLO) => {}
            Some(_) => return Err(BadHello::Malformed("it is no client's hello")),
        }
        let Some(&[high, middle, low]) = self.message.get(1..4) else { return Ok(None) };
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if length > LONGEST {
            return Err(BadHello::TooLong);
        }
        self.message.get(4..4 + length).map(hello).transpose()
    }
}

/// The length of the record that begins here, once its header is there. What cannot become one is refused at once.
fn record(bytes: &[u8]) -> Result<Option<usize>, BadHello> {
    match bytes {
        [kind, ..] if *kind != HANDSHAKE => Err(BadHello::NotTls),
        [_, major, ..] if *major != 3 => Err(BadHello::NotTls),
        [_, _, _, high, low, ..] => match usize::from(u16::from_be_bytes([*high, *low])) {
            0 => Err(BadHello::Malformed("a record is empty")),
            length if length > LONGEST_RECORD => Err(BadHello::Malformed("a record is too long")),
            length => Ok(Some(length)),
        },
        _ => Ok(None),
    }
}

fn hello(body: &[u8]) -> Result<Hello, BadHello> {
    const CUT: BadHello = BadHello::Malformed("its parts do not fit its length");
    let mut body = Bytes(body);
    body.take(2 + 32).ok_or(CUT)?; // version, random
    let session = body.short_list().ok_or(CUT)?;
    let suites = body.list().ok_or(CUT)?;
    let compressions = body.short_list().ok_or(CUT)?;
    if session.0.len() > 32 || suites.0.is_empty() || suites.0.len() % 2 != 0 || compressions.0.is_empty() {
        return Err(BadHello::Malformed("a list has no valid length"));
    }
    let mut server_name = None;
    if !body.0.is_empty() {
        let mut extensions = body.list().ok_or(CUT)?;
        let mut seen = false;
        while !extensions.0.is_empty() {
            let kind = extensions.number().ok_or(CUT)?;
            let content = extensions.list().ok_or(CUT)?;
            if kind == SERVER_NAME {
                if std::mem::replace(&mut seen, true) {
                    return Err(BadHello::Malformed("it asks for a name twice"));
                }
                server_name = name(content)?;
            }
        }
    }
    if !body.0.is_empty() {
        return Err(CUT);
    }
    Ok(Hello { server_name })
}

/// The one name in a list of names. An address is no name (RFC 6066 §3), and taken as if none had been asked for.
fn name(mut extension: Bytes<'_>) -> Result<Option<Arc<str>>, BadHello> {
    const BAD: BadHello = BadHello::Malformed("the name it asks for is not one");
    let mut names = extension.list().filter(|_| extension.0.is_empty()).ok_or(BAD)?;
    let kind = names.byte().ok_or(BAD)?;
    let text = names.list().filter(|_| names.0.is_empty()).ok_or(BAD)?;
    let text = std::str::from_utf8(text.0).map_err(|_| BAD)?;
    if kind != HOST_NAME {
        return Err(BAD);
    }
    match DnsName::try_from(text) {
        Ok(name) => Ok(Some(name.as_ref().to_ascii_lowercase().into())),
        Err(_) if IpAddr::try_from(text).is_ok() => Ok(None),
        Err(_) => Err(BAD),
    }
}

/// Bytes that are taken from the front.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// What follows a length of two bytes.
    fn list(&mut self) -> Option<Self> {
        let length = self.number()?;
        self.take(length.into()).map(Self)
    }

    /// What follows a length of one byte.
    fn short_list(&mut self) -> Option<Self> {
        let length = self.byte()?;
        self.take(length.into()).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use rustls::server::Acceptor;

    /// What rustls sends as a client.
    fn sent(name: &'static str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The same message in records of this many bytes.
    fn in_records_of(size: usize, bytes: &[u8]) -> Vec<u8> {
        let fragment = |it: &[u8]| [&[HANDSHAKE, 3, 1, 0, u8::try_from(it.len()).unwrap()], it].concat();
        bytes[RECORD_HEADER..].chunks(size).flat_map(fragment).collect()
    }

    fn read(bytes: &[u8]) -> Result<Option<Hello>, BadHello> {
        HelloReader::default().read(bytes)
    }

    fn asks_for(name: Option<&str>) -> Result<Option<Hello>, BadHello> {
        Ok(Some(Hello { server_name: name.map(Arc::from) }))
    }

    #[test]
    fn the_name_is_found_however_the_message_is_cut() {
        let bytes = sent("Shop.example.com");
        for wire in [bytes.clone(), in_records_of(1, &bytes), in_records_of(100, &bytes)] {
            assert_eq!(read(&wire), asks_for(Some("shop.example.com")));
            let mut reader = HelloReader::default();
            for end in 0..wire.len() {
                assert_eq!(reader.read(&wire[..end]), Ok(None), "{end}");
            }
            assert_eq!(reader.read(&wire), asks_for(Some("shop.example.com")));
            let more = [&wire[..], b"what follows is not looked at"].concat();
            assert_eq!(read(&more), asks_for(Some("shop.example.com")));
        }
    }

    #[test]
    fn a_client_that_names_an_address_or_nothing_asks_for_no_name() {
        assert_eq!(read(&sent("192.0.2.1")), asks_for(None));
        let bare = [&[0; 34][..], &[0, 0, 2, 0x13, 0x01, 1, 0]].concat();
        assert_eq!(hello(&bare), Ok(Hello { server_name: None }));
    }

    fn with_extensions(extensions: &[u8]) -> Vec<u8> {
        let length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
        [&[0; 34][..], &[0, 0, 2, 0x13, 0x01, 1, 0], &length, extensions].concat()
    }

    fn named(names: &[u8]) -> Vec<u8> {
        let length = u8::try_from(names.len()).unwrap();
        [&[0, 0, 0, length + 2, 0, length], names].concat()
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        let one = named(b"\0\0\x01a");
        assert_eq!(hello(&with_extensions(&one)), Ok(Hello { server_name: Some("a".into()) }));
        for (what, body) in [
            ("two extensions", with_extensions(&[&one[..], &named(b"\0\0\x01b")].concat())),
            ("two names", with_extensions(&named(b"\0\0\x01a\0\0\x01b"))),
            ("no name", with_extensions(&named(b""))),
            ("an empty name", with_extensions(&named(b"\0\0\0"))),
            ("another kind of name", with_extensions(&named(b"\x01\0\x01a"))),
            ("no DNS name", with_extensions(&named(b"\0\0\x03a b"))),
            ("a zero byte", with_extensions(&named(b"\0\0\x02a\0"))),
            ("a cut extension", with_extensions(&one[..one.len() - 1])),
            ("something behind the extensions", [&with_extensions(&one)[..], b"x"].concat()),
            ("half a cipher suite", [&[0; 34][..], &[0, 0, 1, 0x13, 1, 0]].concat()),
            ("too long a session", [&[0; 34][..], &[33], &[0; 33], &[0, 2, 0x13, 1, 1, 0]].concat()),
        ] {
            assert!(matches!(hello(&body), Err(BadHello::Malformed(_))), "{what}: {:?}", hello(&body));
        }
    }

    #[test]
    fn other_protocols_are_told_by_their_first_bytes_and_nobody_may_go_on_for_ever() {
        for text in [&b"GET / HTTP/1.1\r\n"[..], b"SSH-2.0", b"\x80\x2e\x01", b"\x16\x02", b"\x15\x03"] {
            assert_eq!(read(text), Err(BadHello::NotTls), "{text:?}");
        }
        assert!(matches!(read(b"\x16\x03\x01\0\0"), Err(BadHello::Malformed(_))));
        assert!(matches!(read(b"\x16\x03\x01\0\x01\x02"), Err(BadHello::Malformed(_))));
        assert_eq!(read(b"\x16\x03\x01\0\x04\x01\x01\0\0"), Err(BadHello::TooLong));
        let endless: Vec<u8> = [22, 3, 1, 0, 1, 0].repeat(LONGEST);
        let endless = [&[22, 3, 1, 0, 4, 1, 0, 0x5f, 0xff], &endless[..LONGEST]].concat();
        assert_eq!(read(&endless), Err(BadHello::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn what_rustls_takes_is_read_as_rustls_reads_it(at in 0usize..400, byte: u8, cut in 0usize..400) {
            let mut bytes = sent("shop.example.com");
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            if cut < 50 {
                bytes.truncate(bytes.len() - cut);
            }
            let mut acceptor = Acceptor::default();
            let mut rest = &bytes[..];
            let mut found = None;
            while !rest.is_empty() && found.is_none() {
                acceptor.read_tls(&mut rest).unwrap();
                found = match acceptor.accept() {
                    Ok(None) => None,
                    Ok(Some(accepted)) => Some(Some(accepted.client_hello().server_name().map(Arc::from))),
                    Err(_) => Some(None),
                };
            }
            match (found, read(&bytes)) {
                (Some(Some(server_name)), Ok(Some(hello))) => proptest::prop_assert_eq!(hello, Hello { server_name }),
                // We may be stricter, never more lenient: two names, an unknown kind of name.
                (Some(Some(_)), read) => proptest::prop_assert!(matches!(read, Err(BadHello::Malformed(_)))),
                _ => {}
            }
        }
    }
}
