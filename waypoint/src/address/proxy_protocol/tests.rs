use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// Reads a header as a connection would, of which so many bytes come at a time; and what is left of the bytes.
fn read(
    mut bytes: &[u8],
    mut pieces: impl FnMut() -> usize,
) -> (Result<Option<ProxyHeader>, BadHeader>, &[u8]) {
    let mut reader = HeaderReader::default();
    loop {
        let there = bytes.len().min(pieces().max(1));
        if there == 0 {
            return (Ok(None), bytes);
        }
        let taken = reader.take(&bytes[..there]);
        bytes = &bytes[taken.map_or(there, |(count, _)| count)..];
        match taken {
            Ok((count, None)) => assert_eq!(count, there, "all that is there, before the header is whole"),
            Ok((_, header)) => return (Ok(header), bytes),
            Err(error) => return (Err(error), bytes),
        }
    }
}

fn at_once(bytes: &[u8]) -> (Result<Option<ProxyHeader>, BadHeader>, &[u8]) {
    read(bytes, || usize::MAX)
}

fn client(text: &str) -> Result<Option<ProxyHeader>, BadHeader> {
    Ok(Some(ProxyHeader::Client(text.parse().unwrap())))
}

const PEER: Result<Option<ProxyHeader>, BadHeader> = Ok(Some(ProxyHeader::Peer));
const MORE: Result<Option<ProxyHeader>, BadHeader> = Ok(None);

/// A header of version 2.
fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family][..], &length, rest].concat()
}

fn v4(more: &[u8]) -> Vec<u8> {
    let addresses = [203, 0, 113, 7, 10, 0, 0, 1, 200, 34, 1, 187];
    block(0x21, 0x11, &[&addresses[..], more].concat())
}

fn v6(source: &str) -> Vec<u8> {
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    block(0x21, 0x21, &[&octets(source)[..], &octets("2001:db8::1"), &[200, 34, 1, 187]].concat())
}

fn is_malformed(read: Result<Option<ProxyHeader>, BadHeader>) -> bool {
    matches!(read, Err(BadHeader::Malformed(_)))
}

#[test]
fn a_line_says_where_the_client_is_or_is_refused() {
    for (line, expected) in [
        ("PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n", client("203.0.113.7")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", client("255.255.255.255")),
        ("PROXY TCP4 203.0.113.7 10.0.0.1 0 0\r\n", client("203.0.113.7")),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 51234 443\r\n", client("2001:db8::7")),
        ("PROXY TCP6 ::ffff:203.0.113.7 ::1 51234 443\r\n", client("203.0.113.7")),
        ("PROXY UNKNOWN\r\n", PEER),
        ("PROXY UNKNOWN 203.0.113.7 10.0.0.1 51234 443\r\n", PEER),
        ("PROXY UNKNOWN \x01\r\n", PEER),
        ("PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r", MORE),
        ("PROXY TCP4 203.0.113.7 10.0.0.1 51234 443", MORE),
        ("PROXY", MORE),
        ("", MORE),
        ("PROXY UDP4 203.0.113.7 10.0.0.1 51234 443\r\n", Err(BadHeader::UnknownFamily)),
        ("PROXY tcp4 203.0.113.7 10.0.0.1 51234 443\r\n", Err(BadHeader::UnknownFamily)),
        ("PROXY UNKNOWNS\r\n", Err(BadHeader::UnknownFamily)),
        ("PROXY  TCP4 203.0.113.7 10.0.0.1 51234 443\r\n", Err(BadHeader::UnknownFamily)),
        ("GET / HTTP/1.1\r\n", Err(BadHeader::NotProxy)),
        ("proxy TCP4 203.0.113.7 10.0.0.1 51234 443\r\n", Err(BadHeader::NotProxy)),
        ("PROXYTCP4 203.0.113.7 10.0.0.1 51234 443\r\n", Err(BadHeader::NotProxy)),
        (" PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n", Err(BadHeader::NotProxy)),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}", Err(BadHeader::NotProxy)),
    ] {
        assert_eq!(at_once(line.as_bytes()).0, expected, "{line:?}");
    }
    for line in [
        "PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\rX",
        "PROXY TCP4 203.0.113.7\r\n10.0.0.1 51234 443\r\n",
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 \r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 51234\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 51234 443 1\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 51234 443 \r\n",
        "PROXY TCP4 203.0.113.7  10.0.0.1 51234 443\r\n",
        "PROXY TCP4 2001:db8::7 10.0.0.1 51234 443\r\n",
        "PROXY TCP6 203.0.113.7 10.0.0.1 51234 443\r\n",
        "PROXY TCP6 fe80::1%eth0 fe80::2 51234 443\r\n",
        "PROXY TCP4 0203.0.113.7 10.0.0.1 51234 443\r\n",
        "PROXY TCP4 203.0.113.7:51234 10.0.0.1 51234 443\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 +1 443\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 01 443\r\n",
        "PROXY TCP4 203.0.113.7 10.0.0.1 51234 \r\n",
        "PROXY TCP4 203.0.113.7\t10.0.0.1 51234 443\r\n",
    ] {
        let read = at_once(line.as_bytes()).0;
        assert!(is_malformed(read) || read == Err(BadHeader::UnknownFamily), "{line:?}: {read:?}");
    }
}

#[test]
fn a_block_says_where_the_client_is_or_is_refused() {
    let tlvs = [3, 0, 4, 1, 2, 3, 4, 0x20, 0, 1, 7];
    for (bytes, expected) in [
        (v4(&[]), client("203.0.113.7")),
        (v4(&tlvs), client("203.0.113.7")),
        (v6("2001:db8::7"), client("2001:db8::7")),
        (v6("::ffff:203.0.113.7"), client("203.0.113.7")),
        // LOCAL: whatever it says of addresses.
        (block(0x20, 0x00, &[]), PEER),
        (block(0x20, 0x11, &[1; 12]), PEER),
        (block(0x20, 0x11, &[1; 3]), PEER),
        (block(0x20, 0xff, &tlvs), PEER),
        // UNSPEC: it does not know.
        (block(0x21, 0x00, &[]), PEER),
        (block(0x21, 0x00, &tlvs), PEER),
        // Unix sockets, datagrams, and what is not there yet.
        (block(0x21, 0x31, &[b'/'; 216]), Err(BadHeader::UnknownFamily)),
        (block(0x21, 0x12, &[1; 12]), Err(BadHeader::UnknownFamily)),
        (block(0x21, 0x22, &[1; 36]), Err(BadHeader::UnknownFamily)),
        (block(0x21, 0x10, &[1; 12]), Err(BadHeader::UnknownFamily)),
        (block(0x21, 0x41, &[1; 12]), Err(BadHeader::UnknownFamily)),
        (v4(&[])[..27].to_vec(), MORE),
        (v4(&[])[..15].to_vec(), MORE),
        (SIGNATURE.to_vec(), MORE),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), Err(BadHeader::NotProxy)),
    ] {
        assert_eq!(at_once(&bytes).0, expected, "{bytes:?}");
    }
    for bytes in [
        block(0x11, 0x11, &[1; 12]),
        block(0x31, 0x11, &[1; 12]),
        block(0x22, 0x11, &[1; 12]),
        block(0x21, 0x11, &[1; 11]),
        block(0x21, 0x21, &[1; 35]),
        block(0x21, 0x11, &[]),
    ] {
        assert!(is_malformed(at_once(&bytes).0), "{bytes:?}");
    }
}

#[test]
fn a_header_has_an_end() {
    let line =
        |spare: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE - 16 - spare)).into_bytes();
    assert_eq!((line(0).len(), at_once(&line(0)).0), (LONGEST_LINE, PEER));
    let mut longer = line(0);
    longer.insert(20, b'x');
    assert_eq!(at_once(&longer).0, Err(BadHeader::TooLong));
    assert_eq!(at_once(&[&b"PROXY "[..], &[b'x'; 4096]].concat()).0, Err(BadHeader::TooLong));
    let rest = LONGEST_BLOCK - 16 - 12;
    assert_eq!(at_once(&v4(&vec![0; rest])).0, client("203.0.113.7"));
    assert_eq!(at_once(&v4(&vec![0; rest + 1])).0, Err(BadHeader::TooLong));
    // It is not waited for what will be refused.
    let endless = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff], &[7; 100]].concat();
    let (refused, left) = read(&endless, || 1);
    assert_eq!((refused, left.len()), (Err(BadHeader::TooLong), 100));
}

#[test]
fn what_follows_a_header_is_left_also_a_second_header() {
    let line = b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n".to_vec();
    for header in [
        line.clone(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        v4(&[]),
        v4(&[9; 70]),
        v6("2001:db8::7"),
        block(0x20, 0, &[]),
    ] {
        for payload in [&b""[..], b"\x16\x03\x01", b"\n", b"\r\n", &line, &v4(&[])] {
            let bytes = [&header, payload].concat();
            let (read, left) = at_once(&bytes);
            assert!(matches!(read, Ok(Some(_))), "{read:?}");
            assert_eq!(left, payload, "{header:?}");
        }
    }
}

/// Headers, and bytes that are nearly headers.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    let valid = prop_oneof![
        (any::<std::net::Ipv4Addr>(), any::<u16>())
            .prop_map(|(it, port)| format!("PROXY TCP4 {it} 10.0.0.1 {port} 443\r\n").into_bytes()),
        (any::<std::net::Ipv6Addr>(), any::<u16>())
            .prop_map(|(it, port)| format!("PROXY TCP6 {it} ::1 {port} 443\r\n").into_bytes()),
        "PROXY UNKNOWN[ -~]{0,40}\r\n".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..200).prop_map(|it| v4(&it)),
        (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..60)).prop_map(|(a, b, it)| block(
            0x20 | (a % 2),
            b,
            &it
        )),
    ];
    let flipped = (valid.boxed(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>());
    flipped.prop_map(|(mut bytes, at, to, flips)| {
        if flips {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        bytes
    })
}

proptest! {
    #[test]
    fn however_bytes_come_the_same_is_read_and_nothing_of_what_follows_is_lost(
        header in headers(),
        payload in vec(any::<u8>(), 0..64),
        sizes in vec(1..20_usize, 1..8),
    ) {
        let bytes = [header, payload].concat();
        let mut next = sizes.iter().cycle().copied();
        let (whole, left) = at_once(&bytes);
        let (in_pieces, left_in_pieces) = read(&bytes, || next.next().unwrap_or(1));
        prop_assert_eq!(whole, in_pieces);
        if whole.is_ok() {
            prop_assert_eq!(left, left_in_pieces);
        }
        let (single, left_single) = read(&bytes, || 1);
        prop_assert_eq!(single, whole);
        if whole.is_ok() {
            prop_assert_eq!(left, left_single);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_within_the_limit(bytes in vec(any::<u8>(), 0..700)) {
        let (read, left) = at_once(&bytes);
        if read.is_ok_and(|it| it.is_some()) {
            prop_assert!(bytes.len() - left.len() <= LONGEST_BLOCK);
        }
    }
}
