//! Which packets of a pod go where, and why.

use super::expression::Statement::{self, *};
use super::{CaptureRules, attribute};
use crate::netlink::{Attribute, Message, covers, flags};

/// The one table of ours. What is in it is ours alone: applying replaces it, removing deletes it.
pub const TABLE: &str = "fairway";

/// The rules as messages to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    pub(super) table: Vec<Attribute>,
    chains: Vec<(&'static str, Vec<Attribute>)>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    chain: &'static str,
    attributes: Vec<Attribute>,
}

/// Who refuses a connection to a port at which nobody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuses {
    /// The kernel, at once.
    Kernel,
    /// The tunnel, after the connection was made: where the kernel cannot look for sockets in a rule (NFT_SOCKET).
    Tunnel,
}

/// Whether anything but the tunnel may speak TCP to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Nothing may, not even a connection that was captured and that the kernel has forgotten.
    Up,
    /// What was open before the rules may.
    Down,
}

/// Where in a packet's way a chain is asked.
#[derive(Clone, Copy)]
struct Chain {
    name: &'static str,
    kind: &'static str,
    hook: u32,
    priority: i32,
}

const PREROUTING: u32 = 0;
const INPUT: u32 = 1;
const OUTPUT: u32 = 3;

// The usual priorities: marks are set before addresses are translated.
const MARKING: i32 = -150;
const TRANSLATION: i32 = -100;
const FILTER: i32 = 0;

const FENCE: &str = "fence";

const CHAINS: [Chain; 6] = [
    Chain { name: "outbound", kind: "nat", hook: OUTPUT, priority: TRANSLATION },
    Chain { name: "inbound", kind: "nat", hook: PREROUTING, priority: TRANSLATION },
    Chain { name: "remember", kind: "filter", hook: PREROUTING, priority: MARKING },
    // Of kind "route": a packet whose mark it changes is routed again.
    Chain { name: "answer", kind: "route", hook: OUTPUT, priority: MARKING },
    Chain { name: "protect", kind: "filter", hook: INPUT, priority: FILTER },
    Chain { name: FENCE, kind: "filter", hook: OUTPUT, priority: FILTER },
];

/// The rules. The comments go to the kernel too, for whoever lists them.
///
/// Not here, for a reason: UDP and everything else that is not TCP passes by. `127.0.0.1` needs no rule of its own, it is
/// loopback. Nothing names addresses, so that the same rules hold for IPv4, IPv6 and pods with several addresses.
fn rules(numbers: &CaptureRules, refuses: Refuses) -> Vec<(&'static str, &'static str, Vec<Statement>)> {
    let &CaptureRules { outbound_port, inbound_port, hbone_port, own_mark, reply_mark, reply_table: _ } =
        numbers;
    let mut inbound = vec![Tcp, Opening, PortIsNot(hbone_port)];
    if refuses == Refuses::Kernel {
        inbound.push(SomebodyListens);
    }
    inbound.push(Redirect(inbound_port));
    vec![
        // The tunnel opens its connections within the pod; without this each would come back to it for ever.
        ("outbound", "what the tunnel itself sends is on its way", vec![MarkIs(own_mark), Accept]),
        // By 127.0.0.1 or by the pod's own address: it never leaves the pod, so there is nothing to protect, and a program
        // that looks for itself must find itself even when the tunnel is down.
        ("outbound", "what the pod says to itself stays within", vec![ToLoopback, Accept]),
        // Only openings: a connection that was there before the rules must not be torn out of the middle.
        ("outbound", "new connections go through the tunnel", vec![Tcp, Opening, Redirect(outbound_port)]),
        // The tunnel port speaks for itself with mTLS. All others are plaintext to us, and the tunnel decides about them:
        // probes of the node, clients outside the mesh. What came over loopback was decided on its way out. Where nobody
        // listens the kernel refuses as ever: a probe that only connects must not find the tunnel instead of the program.
        ("inbound", "new connections from outside a tunnel are the tunnel's to admit", inbound),
        // The tunnel hands a connection to the pod's program with the client's address as its source...
        (
            "remember",
            "a connection the tunnel makes to the pod, maybe in a client's name",
            vec![FromLoopback, MarkIs(own_mark), SetConnectionMark(reply_mark)],
        ),
        // ...so the program answers to the client; the mark has the answer routed back here instead (`reply_route`). Only
        // answers: what the tunnel says needs no second routing.
        (
            "answer",
            "answers to it come back to the tunnel",
            vec![Reply, ConnectionMarkIs(reply_mark), SetMark(reply_mark)],
        ),
        // Dialled directly, the tunnel's ports would have the tunnel dial itself. No redirect, no business here.
        (
            "protect",
            "the outbound port is only for what was redirected",
            vec![Tcp, PortIs(outbound_port), NotRedirected, Reset],
        ),
        (
            "protect",
            "the inbound port is only for what was redirected",
            vec![Tcp, PortIs(inbound_port), NotRedirected, Reset],
        ),
        (FENCE, "what stays within the pod", vec![ToLoopback, Accept]),
        (FENCE, "connections that the tunnel makes", vec![MarkIs(own_mark), Accept]),
        // Those it accepts carry no mark.
        (FENCE, "tunnels that others make", vec![Tcp, SourcePortIs(hbone_port), Accept]),
        (FENCE, "what goes to the tunnel", vec![Redirected, Accept]),
        (FENCE, "answers on their way back to it", vec![Reply, ConnectionMarkIs(reply_mark), Accept]),
        (FENCE, "that nobody is there may be said", vec![Tcp, Refusing, Accept]),
        (FENCE, "what is out of order is said again", vec![Tcp, Invalid, Drop]),
        (FENCE, "no TCP leaves the pod by another way", vec![Tcp, Reset]),
    ]
}

/// Whether the fence is up, where these chains of ours were found.
pub(super) fn fence_among(chains: &[&[u8]]) -> Fence {
    let is_fence = |found: &&[u8]| attribute(found, chain::NAME).is_some_and(|name| is_text(name, FENCE));
    if chains.iter().any(is_fence) { Fence::Up } else { Fence::Down }
}

// === impl Ruleset ===

impl Ruleset {
    /// The rules made of these numbers.
    pub fn new(numbers: &CaptureRules, refuses: Refuses, fence: Fence) -> Self {
        Self::made_of(rules(numbers, refuses), fence)
    }

    /// Those of a pod that leaves: new connections are not redirected any more, and what was redirected still finds its way.
    pub fn letting_go(numbers: &CaptureRules) -> Self {
        let mut rules = rules(numbers, Refuses::Tunnel);
        rules.retain(|(_, _, statements)| !statements.iter().any(|it| matches!(it, Redirect(_))));
        Self::made_of(rules, Fence::Down)
    }

    fn made_of(rules: Vec<(&'static str, &'static str, Vec<Statement>)>, fence: Fence) -> Self {
        let is_there = |chain: &str| fence == Fence::Up || chain != FENCE;
        let chains = CHAINS
            .iter()
            .filter(|chain| is_there(chain.name))
            .map(|chain| (chain.name, chain.attributes()))
            .collect();
        let rules = rules
            .into_iter()
            .filter(|(chain, ..)| is_there(chain))
            .map(|(chain, comment, statements)| Rule {
                chain,
                attributes: rule_attributes(chain, comment, &statements),
            })
            .collect();
        Self {
            table: vec![Attribute::text(table::NAME, TABLE), Attribute::be32(table::FLAGS, 0)],
            chains,
            rules,
        }
    }

    /// What a netlink socket is sent to put them in place of whatever has our table's name: one transaction.
    pub fn batch(&self) -> Vec<Vec<u8>> {
        let encode = |(sequence, message): (usize, Message)| {
            let mut bytes = Vec::new();
            message.encode(sequence as u32, &mut bytes);
            bytes
        };
        self.install().into_iter().enumerate().map(encode).collect()
    }

    pub(super) fn install(&self) -> Vec<Message> {
        let add_table =
            || request(kind::NEW_TABLE, flags::CREATE, "add the table".to_owned(), self.table.clone());
        let mut messages = vec![batch_begin()];
        // Deleting what is not there is an error, so it is made first; kernels before 6.3 have no better way.
        messages.extend([add_table(), delete_table(), add_table()]);
        for (name, attributes) in &self.chains {
            messages.push(request(
                kind::NEW_CHAIN,
                flags::CREATE,
                format!("add the chain {name}"),
                attributes.clone(),
            ));
        }
        for (number, Rule { chain, attributes }) in self.rules.iter().enumerate() {
            let what = format!("add rule {number} to the chain {chain}");
            messages.push(request(kind::NEW_RULE, flags::CREATE | flags::APPEND, what, attributes.clone()));
        }
        messages.push(batch_end());
        messages
    }

    pub(super) fn remove() -> Vec<Message> {
        vec![batch_begin(), delete_table(), batch_end()]
    }

    /// How what the kernel has is not what it should have.
    pub(super) fn difference(&self, chains: &[&[u8]], rules: &[&[u8]]) -> Option<String> {
        for (name, wanted) in &self.chains {
            if !chains.iter().any(|found| covers(found, wanted)) {
                return Some(format!("the chain {name} is gone or changed"));
            }
            let wanted: Vec<_> = self.rules.iter().filter(|rule| rule.chain == *name).collect();
            let in_chain =
                |rule: &&&[u8]| attribute(rule, rule::CHAIN).is_some_and(|chain| is_text(chain, name));
            let found: Vec<_> = rules.iter().filter(in_chain).collect();
            if found.len() != wanted.len() {
                return Some(format!(
                    "the chain {name} has {} rules instead of {}",
                    found.len(),
                    wanted.len()
                ));
            }
            let changed =
                found.iter().zip(&wanted).position(|(found, wanted)| !covers(found, &wanted.attributes));
            if let Some(number) = changed {
                return Some(format!("rule {number} of the chain {name} is not ours"));
            }
        }
        (chains.len() != self.chains.len())
            .then(|| format!("{} chains instead of {}", chains.len(), self.chains.len()))
    }
}

impl Chain {
    fn attributes(&self) -> Vec<Attribute> {
        const ACCEPT: u32 = 1;
        let hook = vec![Attribute::be32(1, self.hook), Attribute::be32(2, self.priority as u32)];
        vec![
            Attribute::text(chain::TABLE, TABLE),
            Attribute::text(chain::NAME, self.name),
            Attribute::nested(chain::HOOK, hook),
            Attribute::be32(chain::POLICY, ACCEPT),
            Attribute::text(chain::TYPE, self.kind),
        ]
    }
}

fn rule_attributes(chain: &str, comment: &str, statements: &[Statement]) -> Vec<Attribute> {
    let expressions = statements.iter().flat_map(|statement| statement.expressions()).collect();
    // The form `nft` reads comments in: type 0, length, text, end.
    let mut user_data = vec![0, (comment.len() + 1) as u8];
    user_data.extend(comment.as_bytes());
    user_data.push(0);
    vec![
        Attribute::text(rule::TABLE, TABLE),
        Attribute::text(rule::CHAIN, chain),
        Attribute::nested(rule::EXPRESSIONS, expressions),
        Attribute::bytes(rule::USER_DATA, user_data),
    ]
}

// === the messages of linux/netfilter/nf_tables.h ===

mod table {
    pub(super) const NAME: u16 = 1;
    pub(super) const FLAGS: u16 = 2;
}

mod chain {
    pub(super) const TABLE: u16 = 1;
    pub(super) const NAME: u16 = 3;
    pub(super) const HOOK: u16 = 4;
    pub(super) const POLICY: u16 = 5;
    pub(super) const TYPE: u16 = 7;
}

mod rule {
    pub(super) const TABLE: u16 = 1;
    pub(super) const CHAIN: u16 = 2;
    pub(super) const EXPRESSIONS: u16 = 4;
    pub(super) const USER_DATA: u16 = 7;
}

mod kind {
    pub(super) const NEW_TABLE: u16 = 0;
    pub(super) const GET_TABLE: u16 = 1;
    pub(super) const DELETE_TABLE: u16 = 2;
    pub(super) const NEW_CHAIN: u16 = 3;
    pub(super) const GET_CHAIN: u16 = 4;
    pub(super) const NEW_RULE: u16 = 6;
    pub(super) const GET_RULE: u16 = 7;
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

/// Whether a chain is in our table.
pub(super) fn is_ours(found: &[u8]) -> bool {
    attribute(found, chain::TABLE).is_some_and(|name| is_text(name, TABLE))
}

fn is_text(value: &[u8], text: &str) -> bool {
    value.strip_suffix(&[0]).unwrap_or(value) == text.as_bytes()
}

fn delete_table() -> Message {
    let name = vec![Attribute::text(table::NAME, TABLE)];
    request(kind::DELETE_TABLE, 0, "delete the table".to_owned(), name)
}

fn request(kind: u16, flags: u16, what: String, attributes: Vec<Attribute>) -> Message {
    let what = format!("{what} (nf_tables {TABLE})");
    Message {
        what,
        kind: SUBSYSTEM << 8 | kind,
        flags: flags | flags::ACK,
        fixed: vec![INET, 0, 0, 0],
        attributes,
    }
}

fn batch_begin() -> Message {
    batch_edge(0x10, "begin a transaction")
}

fn batch_end() -> Message {
    batch_edge(0x11, "commit the transaction")
}

fn batch_edge(kind: u16, what: &str) -> Message {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    let what = format!("{what} (nf_tables {TABLE})");
    Message { what, kind, flags: 0, fixed: vec![0, 0, high, low], attributes: Vec::new() }
}
