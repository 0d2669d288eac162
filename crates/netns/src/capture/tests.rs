use super::nf_tables;
use super::ruleset::{Fence, Refuses, Ruleset};
use super::*;

#[test]
fn one_transaction_replaces_whatever_was_there() {
    let pair = |local: &str, remote: &str| (local.parse().unwrap(), remote.parse().unwrap());
    let older = [pair("10.0.0.2:80", "10.0.0.9:4000"), pair("[fd00::2]:80", "[fd00::9]:4000")];
    let except = Fence::except(older.into_iter().collect());
    for (fence, chains, sets, rules) in [(Fence::Down, 6, 0, 18), (Fence::Up, 6, 0, 25), (except, 6, 2, 29)] {
        let batch = Ruleset::new(&CaptureRules::default(), Refuses::Kernel, &fence).batch();
        let kinds: Vec<u16> =
            batch.iter().map(|message| u16::from_ne_bytes([message[4], message[5]])).collect();
        const NFT: u16 = 10 << 8;
        // Begin, table there for sure, gone, new, chains, each set and what is in it, rules, commit.
        let mut expected = vec![0x10, NFT, NFT | 2, NFT];
        expected.extend(vec![NFT | 3; chains]);
        expected.extend([NFT | 9, NFT | 12].repeat(sets));
        expected.extend(vec![NFT | 6; rules]);
        expected.push(0x11);
        assert_eq!(kinds, expected);
        for message in &batch {
            assert_eq!(u32::from_ne_bytes(*message.first_chunk().unwrap()) as usize, message.len());
            assert_eq!(message.len() % 4, 0);
        }
    }
}

#[test]
fn the_numbers_go_where_they_belong() {
    let rules = CaptureRules {
        outbound_port: 0x1111,
        inbound_port: 0x2222,
        hbone_port: 0x3333,
        ..CaptureRules::default()
    };
    let of_chain = |batch: &[Vec<u8>], chain: &str, port: u16| {
        let has = |message: &[u8], bytes: &[u8]| message.windows(bytes.len()).any(|window| window == bytes);
        batch
            .iter()
            .filter(|message| has(message, chain.as_bytes()) && has(message, &port.to_be_bytes()))
            .count()
    };
    let batch = Ruleset::new(&rules, Refuses::Tunnel, &Fence::Up).batch();
    for (chain, port, times) in [
        ("outbound\0", 0x1111, 1),
        ("inbound\0", 0x2222, 1),
        ("inbound\0", 0x3333, 1),
        ("protect\0", 0x1111, 1),
        ("protect\0", 0x2222, 2),
        ("protect\0", 0x3333, 1),
        ("outbound\0", 0x2222, 0),
        ("inbound\0", 0x1111, 0),
    ] {
        assert_eq!(of_chain(&batch, chain, port), times, "{chain} {port:x}");
    }
}

#[test]
fn only_our_table_is_ours() {
    let chain = |table: &str| {
        let mut bytes = Vec::new();
        crate::netlink::Attribute::text(1, table).encode(&mut bytes);
        bytes
    };
    assert!(nf_tables::is_ours(&chain("fairway")));
    assert!(!nf_tables::is_ours(&chain("fairway2")));
    assert!(!nf_tables::is_ours(&[]));
}

#[test]
fn a_refusal_says_what_it_takes() {
    let refused = |errno| {
        CaptureError::from(NetlinkError::Refused {
            what: "add the table".to_owned(),
            source: std::io::Error::from_raw_os_error(errno),
            detail: None,
        })
        .to_string()
    };
    assert!(refused(libc::EPERM).contains("CAP_NET_ADMIN"));
    assert!(refused(libc::EOPNOTSUPP).contains("CONFIG_NF_TABLES_INET"));
    assert!(refused(libc::EBUSY).starts_with("cannot add the table: "));
}
