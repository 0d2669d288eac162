//! Addresses of IPv6 that lead to an address of IPv4: a translator or a tunnel between here and there takes it out of them.

use std::net::{IpAddr, Ipv4Addr};

/// What such an address may lead to: one address, or several where it is not known which of its bits are meant. None for an
/// address that leads to itself.
pub(super) fn behind(address: IpAddr) -> Option<Vec<IpAddr>> {
    let IpAddr::V6(address) = address else { return None };
    let (bits, segments) = (address.to_bits(), address.segments());
    let part = |from: u32| Ipv4Addr::from_bits((bits >> (96 - from)) as u32);
    let last = part(96);
    let embedded = match segments {
        // Unspecified, and loopback.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return None,
        // IPv4-compatible (RFC 4291 §2.5.5.1), and IPv4-translated (RFC 2765 §2.1).
        [0, 0, 0, 0, 0, 0, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => vec![last],
        // The prefix for translators (RFC 6052 §2.1), and the one for translators of a network's own (RFC 8215), of which nobody
        // else knows how long it is there (RFC 6052 §2.2).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => vec![last],
        [0x64, 0xff9b, 1, ..] => {
            let [a, b] = (segments[3]).to_be_bytes();
            let [_, c] = (segments[4]).to_be_bytes();
            let [d, e] = (segments[5]).to_be_bytes();
            let [f, _] = (segments[6]).to_be_bytes();
            let places = [[a, b, c, d], [b, c, d, e], [c, d, e, f], last.octets()];
            // Where there are only zeros, the address is in another place.
            let said: Vec<_> = places.into_iter().filter(|it| it[0] != 0).map(Ipv4Addr::from).collect();
            if said.is_empty() { vec![last] } else { said }
        }
        // 6to4 (RFC 3056 §2): the router to which it is sent.
        [0x2002, ..] => vec![part(16)],
        // Teredo (RFC 4380 §4): the server, and the client in the negative.
        [0x2001, 0, ..] => vec![part(32), Ipv4Addr::from_bits(!last.to_bits())],
        // ISATAP (RFC 5214 §6.1), in whatever network.
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => vec![last],
        _ => return None,
    };
    Some(embedded.into_iter().map(IpAddr::V4).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_leads_to_the_one_of_ipv4_that_is_in_it() {
        for (address, expected) in [
            ("10.0.1.1", None),
            ("::", None),
            ("::1", None),
            ("fd00::10.0.1.1", None),
            ("2001:db8::10.0.1.1", None),
            ("64:ff9b:2::10.0.1.1", None),
            ("::10.0.1.1", Some(&["10.0.1.1"][..])),
            ("::ffff:0:10.0.1.1", Some(&["10.0.1.1"])),
            ("64:ff9b::10.0.1.1", Some(&["10.0.1.1"])),
            ("2002:a00:101::1", Some(&["10.0.1.1"])),
            ("2001:0:c000:201::f5ff:fefe", Some(&["192.0.2.1", "10.0.1.1"])),
            ("2001:db8::5efe:10.0.1.1", Some(&["10.0.1.1"])),
            ("2001:db8::200:5efe:10.0.1.1", Some(&["10.0.1.1"])),
            // A prefix of 96, 48, 56 and 64 bits.
            ("64:ff9b:1::10.0.1.1", Some(&["10.0.1.1"])),
            ("64:ff9b:1:a00:1:100::", Some(&["10.0.1.1", "1.1.0.0"])),
            ("64:ff9b:1:a:0:101::", Some(&["10.0.1.1"])),
            ("64:ff9b:1:0:a:1:100:0", Some(&["10.0.1.1", "1.0.0.0"])),
            ("64:ff9b:1::", Some(&["0.0.0.0"])),
        ] {
            let found = behind(address.parse().unwrap());
            let expected =
                expected.map(|it| it.iter().map(|it| it.parse().unwrap()).collect::<Vec<IpAddr>>());
            assert_eq!(found, expected, "{address}");
        }
    }
}
