//! Which packets of a pod go where, and why.

use super::expression::Statement::{self, *};
use super::nf_tables::{
    TABLE, add_set, batch_begin, batch_end, chain, delete_table, is_text, kind, request, rule, table,
};
use super::older::{End, Older};
use super::{CaptureError, CaptureRules, attribute};
use crate::IpFamily;
use crate::netlink::{Attribute, Connection, Family, Message, covers, flags};

/// The rules as messages to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    pub(super) table: Vec<Attribute>,
    chains: Vec<(&'static str, Vec<Attribute>)>,
    /// The sets that rules look connections up in, and their elements, a message each.
    sets: Vec<Message>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    chain: &'static str,
    comment: &'static str,
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

/// Whether anything but the tunnel may speak TCP to others, or they to the pod. No connection is opened around the tunnel in
/// either case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Nothing may, not even a connection that was captured and that the kernel has forgotten.
    Up,
    /// Only these connections, which are older than the rules. There are some.
    UpExcept(Older),
    /// Whatever is open may: those that are older than the rules are not known.
    Down,
}

/// What the rules are for.
#[derive(Clone, Copy)]
enum Purpose<'a> {
    Capture(&'a Fence),
    /// New connections are not captured any more, and what was captured still finds its way.
    LetGo,
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

const PROTECT: &str = "protect";
const FENCE: &str = "fence";
/// In the fence's place where there is none.
const OPENINGS: &str = "openings";

const CHAINS: [Chain; 7] = [
    Chain { name: "outbound", kind: "nat", hook: OUTPUT, priority: TRANSLATION },
    Chain { name: "inbound", kind: "nat", hook: PREROUTING, priority: TRANSLATION },
    Chain { name: "remember", kind: "filter", hook: PREROUTING, priority: MARKING },
    // Of kind "route": a packet whose mark it changes is routed again.
    Chain { name: "answer", kind: "route", hook: OUTPUT, priority: MARKING },
    Chain { name: PROTECT, kind: "filter", hook: INPUT, priority: FILTER },
    Chain { name: FENCE, kind: "filter", hook: OUTPUT, priority: FILTER },
    Chain { name: OPENINGS, kind: "filter", hook: OUTPUT, priority: FILTER },
];

type Said = (&'static str, &'static str, Vec<Statement>);

/// The rules. The comments go to the kernel too, for whoever lists them.
///
/// Not here, for a reason: UDP and everything else that is not TCP passes by. `127.0.0.1` needs no rule of its own, it is
/// loopback. Nothing names addresses, so that the same rules hold for IPv4, IPv6 and pods with several addresses.
///
/// A redirect alone holds nobody off. It is a rule of translation: the kernel asks for it once, at what it takes for the first
/// packet of a connection, and what is not redirected then never is. Whoever sends something else before the SYN (an ACK out
/// of nothing), or has the kernel see the connection from its other end, is not redirected. So `protect` and `openings` look at
/// each SYN again, behind the translation, and refuse what did not come through it.
fn rules(numbers: &CaptureRules, refuses: Refuses, purpose: Purpose<'_>) -> Vec<Said> {
    let &CaptureRules { outbound_port, inbound_port, hbone_port, own_mark, reply_mark, reply_table: _ } =
        numbers;
    let mut inbound = vec![Tcp, Opening, PortIsNot(hbone_port)];
    if refuses == Refuses::Kernel {
        inbound.push(SomebodyListens);
    }
    inbound.push(Redirect(inbound_port));
    let mut rules = vec![
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
        (PROTECT, "what the pod's programs say by the tunnel", vec![FromLoopback, Redirected, Accept]),
        (PROTECT, "what others say to the pod", vec![Tcp, PortIs(inbound_port), Redirected, Accept]),
        // Dialled directly, the tunnel's ports would have the tunnel dial itself. No redirect, no business here.
        (
            PROTECT,
            "the outbound port is only for what was redirected",
            vec![Tcp, PortIs(outbound_port), Reset],
        ),
        (PROTECT, "the inbound port is only for what was redirected", vec![Tcp, PortIs(inbound_port), Reset]),
        (PROTECT, "what stays within the pod", vec![FromLoopback, Accept]),
        // In a client's name, but over loopback. Lost, not refused: the refusal would go to the tunnel.
        (
            PROTECT,
            "nobody else speaks on connections that the tunnel makes to the pod",
            vec![ConnectionMarkIs(reply_mark), Drop],
        ),
        (PROTECT, "tunnels that others make", vec![Tcp, PortIs(hbone_port), Accept]),
        (PROTECT, "nobody opens a connection around the tunnel", vec![Tcp, Opening, Reset]),
    ];
    match purpose {
        Purpose::Capture(fence) => {
            let chain = if fence.is_up() { FENCE } else { OPENINGS };
            rules.extend([
                (chain, "what stays within the pod", vec![ToLoopback, Accept]),
                (chain, "connections that the tunnel makes", vec![MarkIs(own_mark), Accept]),
                (chain, "what goes to the tunnel", vec![Redirected, Accept]),
                (chain, "no connection is opened around the tunnel", vec![Tcp, Opening, Reset]),
            ]);
            if fence.is_up() {
                rules.extend(fence_in(numbers, refuses, fence));
                rules.extend(fence_out(numbers, fence));
            }
        }
        Purpose::LetGo => rules.retain(|(_, _, statements)| {
            !statements.iter().any(|it| matches!(it, Redirect(_)))
                && (!statements.contains(&Opening) || !statements.contains(&Reset))
        }),
    }
    rules
}

/// What else comes to a pod that is fenced in. What the kernel refuses here it forgets, so that nobody can have it remember a
/// connection that there never was, and send another past the redirect.
fn fence_in(numbers: &CaptureRules, refuses: Refuses, fence: &Fence) -> Vec<Said> {
    const ANSWERS: &str = "answers to connections that the tunnel makes";
    let mut rules: Vec<_> = fence.older_rules(PROTECT, End::Destination).collect();
    match refuses {
        Refuses::Kernel => {
            rules.push((PROTECT, ANSWERS, vec![Tcp, SocketMarkIs(numbers.own_mark), Accept]));
        }
        // What the pod itself opens is redirected, or the tunnel's.
        Refuses::Tunnel => rules.extend([
            (PROTECT, ANSWERS, vec![Tcp, Reply, Accept]),
            (PROTECT, "what is out of order is said again", vec![Tcp, Invalid, Drop]),
        ]),
    }
    rules.push((PROTECT, "no TCP comes to the pod by another way", vec![Tcp, Reset]));
    rules
}

/// What else leaves it.
fn fence_out(numbers: &CaptureRules, fence: &Fence) -> Vec<Said> {
    let &CaptureRules { hbone_port, reply_mark, .. } = numbers;
    let mut rules = vec![
        // Those that the tunnel accepts carry no mark.
        (FENCE, "tunnels that others make", vec![Tcp, SourcePortIs(hbone_port), Accept]),
        (FENCE, "answers on their way back to it", vec![Reply, ConnectionMarkIs(reply_mark), Accept]),
        (FENCE, "that nobody is there may be said", vec![Tcp, Refusing, Accept]),
    ];
    rules.extend(fence.older_rules(FENCE, End::Source));
    rules.extend([
        (FENCE, "what is out of order is said again", vec![Tcp, Invalid, Drop]),
        (FENCE, "no TCP leaves the pod by another way", vec![Tcp, Reset]),
    ]);
    rules
}

/// Whether the fence is up, where these chains of ours were found; without the connections that it lets pass.
pub(super) fn fence_among(chains: &[&[u8]]) -> Fence {
    let is_fence = |found: &&[u8]| attribute(found, chain::NAME).is_some_and(|name| is_text(name, FENCE));
    if chains.iter().any(is_fence) { Fence::Up } else { Fence::Down }
}

// === impl Fence ===

impl Fence {
    /// That lets only these pass.
    pub(super) fn except(older: Older) -> Self {
        if older.is_empty() { Self::Up } else { Self::UpExcept(older) }
    }

    /// Whether nothing passes but connections that are known one by one.
    pub fn is_up(&self) -> bool {
        *self != Self::Down
    }

    /// The connections that it lets pass.
    pub fn older(&self) -> Option<&Older> {
        match self {
            Self::UpExcept(older) => Some(older),
            Self::Up | Self::Down => None,
        }
    }

    /// The keys of those, of each family that has some.
    fn keys(&self) -> impl Iterator<Item = (IpFamily, Vec<Vec<u8>>)> {
        let families = [IpFamily::IPv4, IpFamily::IPv6].into_iter();
        let keys =
            families.map(|family| (family, self.older().map(|it| it.keys(family)).unwrap_or_default()));
        keys.filter(|(_, keys)| !keys.is_empty())
    }

    fn older_rules(&self, chain: &'static str, end: End) -> impl Iterator<Item = Said> {
        self.keys().map(move |(family, _)| {
            (chain, "connections that are older than the rules", vec![Tcp, IsOlder(family, end), Accept])
        })
    }
}

// === impl Ruleset ===

impl Ruleset {
    /// The rules made of these numbers.
    pub fn new(numbers: &CaptureRules, refuses: Refuses, fence: &Fence) -> Self {
        Self::made_of(rules(numbers, refuses, Purpose::Capture(fence)), fence)
    }

    /// Those of a pod that leaves: new connections are not redirected any more, and what was redirected still finds its way.
    pub fn letting_go(numbers: &CaptureRules) -> Self {
        Self::made_of(rules(numbers, Refuses::Tunnel, Purpose::LetGo), &Fence::Down)
    }

    /// All rules but this one, to see what it is for.
    pub fn without(&self, number: usize) -> Self {
        let mut left = self.clone();
        if number < left.rules.len() {
            left.rules.remove(number);
        }
        left
    }

    /// Puts them in place of whatever has our table's name, in this thread's namespace.
    pub fn put_in_place(&self) -> Result<(), CaptureError> {
        Connection::open(Family::Netfilter)?.batch(&self.install())?;
        Ok(())
    }

    /// What each rule is for, in order: its chain, and its comment.
    pub fn comments(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.rules.iter().map(|it| (it.chain, it.comment))
    }

    fn made_of(rules: Vec<Said>, fence: &Fence) -> Self {
        let is_used = |chain: &str| rules.iter().any(|(used, ..)| *used == chain);
        let chains = CHAINS
            .iter()
            .filter(|chain| is_used(chain.name) || ![FENCE, OPENINGS].contains(&chain.name))
            .map(|chain| (chain.name, chain.attributes()))
            .collect();
        let rules = rules
            .into_iter()
            .map(|(chain, comment, statements)| Rule {
                chain,
                comment,
                attributes: rule_attributes(chain, comment, &statements),
            })
            .collect();
        Self {
            table: vec![Attribute::text(table::NAME, TABLE), Attribute::be32(table::FLAGS, 0)],
            chains,
            sets: fence.keys().flat_map(|(family, keys)| add_set(family, &keys)).collect(),
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
        messages.extend(self.sets.iter().cloned());
        for (number, Rule { chain, attributes, .. }) in self.rules.iter().enumerate() {
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
