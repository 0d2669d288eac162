//! The messages of `linux/netfilter/nf_tables.h`, about our table and what is in it.

use super::attribute;
use super::older;
use crate::IpFamily;
use crate::netlink::{Attribute, Message, flags};

/// The one table of ours. What is in it is ours alone: applying replaces it, removing deletes it.
pub const TABLE: &str = "fairway";

pub(super) mod table {
    pub(in crate::capture) const NAME: u16 = 1;
    pub(in crate::capture) const FLAGS: u16 = 2;
}

pub(super) mod chain {
    pub(in crate::capture) const TABLE: u16 = 1;
    pub(in crate::capture) const NAME: u16 = 3;
    pub(in crate::capture) const HOOK: u16 = 4;
    pub(in crate::capture) const POLICY: u16 = 5;
    pub(in crate::capture) const TYPE: u16 = 7;
}

pub(super) mod rule {
    pub(in crate::capture) const TABLE: u16 = 1;
    pub(in crate::capture) const CHAIN: u16 = 2;
    pub(in crate::capture) const EXPRESSIONS: u16 = 4;
    pub(in crate::capture) const USER_DATA: u16 = 7;
}

mod set {
    pub(in crate::capture) const TABLE: u16 = 1;
    pub(in crate::capture) const NAME: u16 = 2;
    pub(in crate::capture) const KEY_TYPE: u16 = 4;
    pub(in crate::capture) const KEY_LENGTH: u16 = 5;
    pub(in crate::capture) const ID: u16 = 10;
    /// Of a message about elements.
    pub(in crate::capture) const ELEMENTS: u16 = 3;
}

pub(super) mod kind {
    pub(in crate::capture) const NEW_TABLE: u16 = 0;
    pub(in crate::capture) const GET_TABLE: u16 = 1;
    pub(in crate::capture) const DELETE_TABLE: u16 = 2;
    pub(in crate::capture) const NEW_CHAIN: u16 = 3;
    pub(in crate::capture) const GET_CHAIN: u16 = 4;
    pub(in crate::capture) const NEW_RULE: u16 = 6;
    pub(in crate::capture) const GET_RULE: u16 = 7;
    pub(in crate::capture) const NEW_SET: u16 = 9;
    pub(in crate::capture) const NEW_ELEMENT: u16 = 12;
    pub(in crate::capture) const GET_ELEMENT: u16 = 13;
}

const SUBSYSTEM: u16 = 10;
const INET: u8 = 1;

pub(super) fn get_table() -> Message {
    let name = vec![Attribute::text(table::NAME, TABLE)];
    Message { flags: 0, ..request(kind::GET_TABLE, 0, "look at the table".to_owned(), name) }
}

pub(super) fn list_chains() -> Message {
    Message { flags: 0, ..request(kind::GET_CHAIN, 0, "list chains".to_owned(), Vec::new()) }
}

pub(super) fn list_rules() -> Message {
    let table = vec![Attribute::text(rule::TABLE, TABLE)];
    Message { flags: 0, ..request(kind::GET_RULE, 0, "list rules".to_owned(), table) }
}

pub(super) fn list_elements(family: IpFamily) -> Message {
    let name = older::set_name(family);
    let set = vec![Attribute::text(set::TABLE, TABLE), Attribute::text(set::NAME, name)];
    Message { flags: 0, ..request(kind::GET_ELEMENT, 0, format!("list what is in {name}"), set) }
}

/// The list of elements in a message of the kernel's.
pub(super) fn elements_in(found: &[u8]) -> &[u8] {
    attribute(found, set::ELEMENTS).unwrap_or_default()
}

/// A set of connections, and what is in it, in messages that are not too long.
pub(super) fn add_set(family: IpFamily, keys: &[Vec<u8>]) -> Vec<Message> {
    const AT_ONCE: usize = 500;
    // As `nft` counts them, for whoever lists the set with it: two addresses and two ports, six bits each.
    const PORT: u32 = 13;
    let (id, address) = match family {
        IpFamily::IPv4 => (1, 7),
        IpFamily::IPv6 => (2, 8),
    };
    let name = older::set_name(family);
    let add = vec![
        Attribute::text(set::TABLE, TABLE),
        Attribute::text(set::NAME, name),
        Attribute::be32(set::KEY_TYPE, address << 18 | address << 12 | PORT << 6 | PORT),
        Attribute::be32(set::KEY_LENGTH, keys.first().map_or(0, Vec::len) as u32),
        Attribute::be32(set::ID, id),
    ];
    let mut messages = vec![request(kind::NEW_SET, flags::CREATE, format!("add the set {name}"), add)];
    for keys in keys.chunks(AT_ONCE) {
        let elements = vec![
            Attribute::text(set::TABLE, TABLE),
            Attribute::text(set::NAME, name),
            Attribute::nested(set::ELEMENTS, older::elements(keys)),
        ];
        messages.push(request(kind::NEW_ELEMENT, flags::CREATE, format!("fill the set {name}"), elements));
    }
    messages
}

/// Whether a chain is in our table.
pub(super) fn is_ours(found: &[u8]) -> bool {
    attribute(found, chain::TABLE).is_some_and(|name| is_text(name, TABLE))
}

pub(super) fn is_text(value: &[u8], text: &str) -> bool {
    value.strip_suffix(&[0]).unwrap_or(value) == text.as_bytes()
}

pub(super) fn delete_table() -> Message {
    let name = vec![Attribute::text(table::NAME, TABLE)];
    request(kind::DELETE_TABLE, 0, "delete the table".to_owned(), name)
}

pub(super) fn request(kind: u16, flags: u16, what: String, attributes: Vec<Attribute>) -> Message {
    let what = format!("{what} (nf_tables {TABLE})");
    Message {
        what,
        kind: SUBSYSTEM << 8 | kind,
        flags: flags | flags::ACK,
        fixed: vec![INET, 0, 0, 0],
        attributes,
    }
}

pub(super) fn batch_begin() -> Message {
    batch_edge(0x10, "begin a transaction")
}

pub(super) fn batch_end() -> Message {
    batch_edge(0x11, "commit the transaction")
}

fn batch_edge(kind: u16, what: &str) -> Message {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    let what = format!("{what} (nf_tables {TABLE})");
    Message { what, kind, flags: 0, fixed: vec![0, 0, high, low], attributes: Vec::new() }
}
