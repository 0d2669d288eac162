//! The list in `X-Forwarded-For`. Each proxy adds the address that it has the request from to the end, so the end is what the last
//! proxy has seen, and everything before the first address of a stranger is what strangers say.

use fairway_policy::CidrSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Entries that are looked at. No chain of proxies is as long.
const MOST: usize = 64;
/// Bytes of the longest entry: an IPv6 address with an IPv4 one at its end, brackets and a port.
const LONGEST: usize = 53;

/// Walks the list from its end as long as it names trusted proxies. The first address that is none of theirs is the client's.
/// What is no address ends the walk: then the client is the last that is known of it, the proxy before. `lines` are the header's, in order, and `peer` is
/// trusted.
pub fn walk<'a>(peer: IpAddr, trusted: &CidrSet, lines: impl DoubleEndedIterator<Item = &'a [u8]>) -> IpAddr {
    let entries = lines.rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    let mut nearest = peer;
    for entry in entries.take(MOST) {
        let Some(address) = parse(entry) else { break };
        nearest = address;
        if !trusted.contains(address) {
            break;
        }
    }
    nearest
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets. IPv4 that is mapped into IPv6 is IPv4.
pub fn parse(entry: &[u8]) -> Option<IpAddr> {
    let entry = entry.trim_ascii();
    if entry.len() > LONGEST {
        return None;
    }
    let text = std::str::from_utf8(entry).ok()?;
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || match text.parse::<SocketAddr>() {
        // A zone means nothing on another machine.
        Ok(SocketAddr::V6(it)) if it.scope_id() != 0 => None,
        other => other.ok().map(|it| it.ip()),
    };
    let address = text.parse().ok().or_else(in_brackets).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trusted() -> CidrSet {
        ["10.0.0.0/8", "2001:db8::/32"].iter().map(|it| it.parse().unwrap()).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn found(lines: &[&str]) -> IpAddr {
        walk(ip("10.0.0.1"), &trusted(), lines.iter().map(|it| it.as_bytes()))
    }

    #[test]
    fn entries_are_read_in_every_spelling_that_proxies_use_and_in_no_other() {
        for (entry, expected) in [
            ("203.0.113.7", Some("203.0.113.7")),
            (" \t203.0.113.7\t ", Some("203.0.113.7")),
            ("203.0.113.7:443", Some("203.0.113.7")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:65535", Some("2001:db8::1")),
            ("::ffff:203.0.113.7", Some("203.0.113.7")),
            ("[::ffff:203.0.113.7]:1", Some("203.0.113.7")),
            ("::ffff:cb00:7107", Some("203.0.113.7")),
            ("", None),
            (" ", None),
            ("unknown", None),
            ("_hidden", None),
            ("203.0.113", None),
            ("203.0.113.7.1", None),
            ("0203.0.113.7", None),
            ("203.0.113.007", None),
            ("0xcb.0.113.7", None),
            ("203.0.113.7:", None),
            ("203.0.113.7:x", None),
            ("203.0.113.7:65536", None),
            ("203.0.113.7/32", None),
            ("203.0.113.7 203.0.113.8", None),
            ("203.0.113.7;203.0.113.8", None),
            ("[203.0.113.7]", None),
            ("[2001:db8::1", None),
            ("2001:db8::1]", None),
            ("[[2001:db8::1]]", None),
            ("[2001:db8::1]443", None),
            ("fe80::1%eth0", None),
            ("[fe80::1%1]:80", None),
            ("\"203.0.113.7\"", None),
            ("for=203.0.113.7", None),
            ("203.0.113.7\0", None),
            ("２０３.0.113.7", None),
        ] {
            assert_eq!(parse(entry.as_bytes()), expected.map(ip), "{entry:?}");
        }
        assert_eq!(parse(b"\xff\xfe"), None);
        assert_eq!(parse(&[b'1'; 4096]), None);
        let longest = "[2001:0db8:0000:0000:0000:0000:255.255.255.255]:65535";
        assert_eq!(longest.len(), LONGEST);
        assert!(parse(longest.as_bytes()).is_some());
    }

    /// What clients and careless proxies put into the header. The peer is a trusted one.
    #[test]
    fn a_client_is_the_first_stranger_from_the_end_whatever_it_says_itself() {
        for (lines, expected) in [
            // One proxy, two proxies, and clients that lie.
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["203.0.113.7, 10.9.9.9"], "203.0.113.7"),
            (&["192.0.2.66, 203.0.113.7"], "203.0.113.7"),
            (&["192.0.2.66, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
            (&["10.6.6.6, 203.0.113.7"], "203.0.113.7"),
            (&["10.6.6.6, 203.0.113.7, 2001:db8::2"], "203.0.113.7"),
            // Two headers are one list, in their order.
            (&["192.0.2.66", "203.0.113.7"], "203.0.113.7"),
            (&["192.0.2.66", "203.0.113.7, 10.9.9.9"], "203.0.113.7"),
            (&["203.0.113.7", "10.9.9.9"], "203.0.113.7"),
            (&["garbage", "203.0.113.7"], "203.0.113.7"),
            // Ports and brackets.
            (&["203.0.113.7:5566"], "203.0.113.7"),
            (&["[2001:db9::1]:5566, [2001:db8::2]:80"], "2001:db9::1"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7, ::ffff:10.9.9.9"], "203.0.113.7"),
            // What is no address ends the walk at what is known.
            (&[], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&[",,,"], "10.0.0.1"),
            (&["203.0.113.7,"], "10.0.0.1"),
            (&["203.0.113.7", ""], "10.0.0.1"),
            (&["unknown"], "10.0.0.1"),
            (&["203.0.113.7, garbage"], "10.0.0.1"),
            (&["203.0.113.7, garbage, 10.9.9.9"], "10.9.9.9"),
            (&["203.0.113.7,, 10.9.9.9"], "10.9.9.9"),
            (&["203.0.113.7 10.9.9.9"], "10.0.0.1"),
            (&["garbage, 203.0.113.7"], "203.0.113.7"),
            (&[", 203.0.113.7"], "203.0.113.7"),
            // A client among the proxies.
            (&["10.3.3.3"], "10.3.3.3"),
            (&["10.3.3.3, 10.9.9.9"], "10.3.3.3"),
            // IPv6 and IPv4 are told apart.
            (&["::a09:909"], "::a09:909"),
        ] {
            assert_eq!(found(lines), ip(expected), "{lines:?}");
        }
        let far = vec!["10.9.9.9"; MOST].join(",");
        assert_eq!(found(&[&format!("203.0.113.7,{far}")]), ip("10.9.9.9"), "the walk has an end");
    }

    proptest! {
        #[test]
        fn what_stands_before_the_stranger_changes_nothing(lie in "[ -~]{0,40}", proxies in 0..5_usize) {
            let mut list = vec!["203.0.113.7"];
            list.extend(vec!["10.9.9.9"; proxies]);
            let line = format!("{lie},{}", list.join(", "));
            prop_assert_eq!(found(&[&line]), ip("203.0.113.7"));
            prop_assert_eq!(found(&[&lie, &list.join(",")]), ip("203.0.113.7"));
        }

        #[test]
        fn one_line_and_many_are_one_list(entries in proptest::collection::vec("[0-9a-f.:,]{0,15}", 1..6)) {
            let many: Vec<&str> = entries.iter().map(String::as_str).collect();
            prop_assert_eq!(found(&many), found(&[&many.join(",")]));
        }

        #[test]
        fn every_address_is_read_as_it_is_written(address in any::<IpAddr>(), port in any::<u16>()) {
            let expected = Some(address.to_canonical());
            prop_assert_eq!(parse(address.to_string().as_bytes()), expected);
            prop_assert_eq!(parse(SocketAddr::new(address, port).to_string().as_bytes()), expected);
        }
    }
}
