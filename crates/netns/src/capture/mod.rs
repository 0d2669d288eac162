//! The rules that bring a pod's TCP to the tunnel, put into the pod's own network namespace.
//!
//! [`ruleset`] decides them, purely; this module has the kernel take them, as one batch that it takes whole or not at all,
//! and looks whether they are still there. All functions work in the calling thread's namespace: call them through
//! [`Namespace::run`](crate::Namespace::run).

mod expression;
mod nf_tables;
mod older;
mod reply_route;
pub mod ruleset;
#[cfg(test)]
mod tests;
mod timeouts;

use crate::IpFamily;
use crate::netlink::{Connection, Family, NetlinkError, attributes, covers, unless};
use crate::socket::Mark;
use crate::sockets;
pub use older::Older;
pub use ruleset::Fence;
use ruleset::{Refuses, Ruleset};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The numbers the rules are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureRules {
    /// Where the tunnel takes what the pod's programs send.
    pub outbound_port: u16,
    /// Where it takes what others send to the pod outside a tunnel.
    pub inbound_port: u16,
    /// Where it takes tunnels.
    pub hbone_port: u16,
    /// What the tunnel puts on its own sockets: never captured.
    pub own_mark: Mark,
    /// What the rules put on answers to connections the tunnel opened within the pod, so that they are routed back to it
    /// even though they are addressed to somebody else.
    pub reply_mark: Mark,
    /// The routing table those answers use.
    pub reply_table: u32,
}

/// What is in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capture {
    /// The rules as they should be.
    Installed,
    /// The namespace has no table of ours.
    Missing,
    /// Something else: a part is gone, changed, or was added. Apply again.
    Differs(String),
}

/// Why rules could not be put in place, removed, or looked at.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The kernel refused for want of a capability (`CAP_NET_ADMIN` in the namespace's owner).
    #[error("{0}: it takes CAP_NET_ADMIN in the pod's network namespace")]
    NotAllowed(#[source] NetlinkError),
    /// The kernel has not what the rules need.
    #[error(
        "{0}: the kernel lacks nf_tables, its nat or its reject part (CONFIG_NF_TABLES_INET, NFT_REDIR, NFT_CT, NFT_REJECT)"
    )]
    NotSupported(#[source] NetlinkError),
    /// The kernel refused for another reason.
    #[error(transparent)]
    Failed(NetlinkError),
}

/// Puts the rules in place, whatever of them was there before. Nothing is captured until all is. A fence that is up stays.
pub fn apply(rules: &CaptureRules) -> Result<Fence, CaptureError> {
    repair(rules, &Fence::Down)
}

/// The same after somebody has changed them. A fence that was up is up again at once: what was opened meanwhile went around
/// the tunnel.
pub fn repair(rules: &CaptureRules, before: &Fence) -> Result<Fence, CaptureError> {
    // The way back first: a connection captured before it exists would hang.
    reply_route::add(rules)?;
    remember_half_closed();
    let (found, standing) = look(rules)?;
    let fence = if before.is_up() { before } else { &standing };
    // A tunnel that is restarted touches nothing that is right.
    if found != Capture::Installed || *fence != standing {
        install(rules, fence)?;
    }
    Ok(fence.clone())
}

/// Puts the fence up around the connections that go around the tunnel, or closer around those of them that are left. The rules
/// are in place already, so none is added.
pub fn raise_fence(rules: &CaptureRules, before: &Fence) -> Result<Fence, CaptureError> {
    if *before == Fence::Up {
        return Ok(Fence::Up);
    }
    let connections = match sockets::connections() {
        Err(error) if is_not_supported(&error) => {
            if !SEES_NO_SOCKETS.swap(true, Relaxed) {
                tracing::warn!(%error, "the kernel lacks INET_TCP_DIAG: captured pods have no fence");
            }
            take_up_nothing_half_way();
            return Ok(before.clone());
        }
        listed => listed?,
    };
    let now = Older::among(&connections, rules);
    let older = match before.older() {
        Some(older) => older.still_among(&now),
        None => now,
    };
    if !older.is_countable() {
        take_up_nothing_half_way();
        return Ok(Fence::Down);
    }
    let fence = Fence::except(older);
    if fence != *before {
        install(rules, &fence)?;
    }
    Ok(fence)
}

fn install(rules: &CaptureRules, fence: &Fence) -> Result<(), NetlinkError> {
    let install =
        |refuses| Connection::open(Family::Netfilter)?.batch(&Ruleset::new(rules, refuses, fence).install());
    match install(who_refuses()) {
        Err(error) if is_not_supported(&error) && who_refuses() == Refuses::Kernel => {
            install(Refuses::Tunnel)?;
            if !LOOKS_FOR_NO_SOCKETS.swap(true, Relaxed) {
                tracing::warn!(
                    "the kernel lacks NFT_SOCKET: probes that only connect find captured pods well, whatever they are"
                );
            }
        }
        installed => drop(installed?),
    }
    Ok(())
}

/// Has the kernel take up no connection of which it has not seen the beginning. Where no fence refuses them, somebody who sends
/// ACKs out of nothing could have it remember connections that there never were, and those who come under the same addresses
/// and ports would be refused. Where there is a fence, the kernel remembers nothing that it refuses, and what it has forgotten
/// itself is better refused than lost. It takes a writable `/proc/sys`; the rules hold without.
fn take_up_nothing_half_way() {
    if let Err(error) = crate::link::set_switch("net/netfilter/nf_conntrack_tcp_loose", "0") {
        tracing::debug!(%error, "connections are taken up half-way");
    }
}

/// Where it cannot be done, capture goes on without.
fn remember_half_closed() {
    if !FORGETS.load(Relaxed)
        && let Err(error) = timeouts::lengthen()
        && !FORGETS.swap(true, Relaxed)
    {
        tracing::warn!(%error, "connections that a killed tunnel leaves half closed are forgotten after a minute (NF_CT_NETLINK_TIMEOUT)");
    }
}

/// Captures nothing new from now on, in one step; what is captured goes on until [`remove`].
pub fn let_go(rules: &CaptureRules) -> Result<(), CaptureError> {
    Ruleset::letting_go(rules).put_in_place()
}

// What the kernel lacks. Found out by the first who tries: it is the same in every namespace.
static LOOKS_FOR_NO_SOCKETS: AtomicBool = AtomicBool::new(false);
static SEES_NO_SOCKETS: AtomicBool = AtomicBool::new(false);
static FORGETS: AtomicBool = AtomicBool::new(false);

fn who_refuses() -> Refuses {
    if LOOKS_FOR_NO_SOCKETS.load(Relaxed) { Refuses::Tunnel } else { Refuses::Kernel }
}

fn is_not_supported(error: &NetlinkError) -> bool {
    matches!(
        error.errno(),
        Some(libc::EPROTONOSUPPORT | libc::EOPNOTSUPP | libc::ENOENT | libc::EAFNOSUPPORT)
    )
}

/// Takes the rules away; that there are none is fine.
pub fn remove(rules: &CaptureRules) -> Result<(), CaptureError> {
    let removed = Connection::open(Family::Netfilter)?.batch(&Ruleset::remove());
    unless(removed, &[libc::ENOENT])?;
    reply_route::remove(rules)?;
    Ok(())
}

/// Looks whether the rules are in place, and the fence where it was put up.
pub fn inspect(rules: &CaptureRules, fence: &Fence) -> Result<Capture, CaptureError> {
    let (found, standing) = look(rules)?;
    if found != Capture::Installed || !fence.is_up() || *fence == standing {
        return Ok(found);
    }
    let difference = if standing.is_up() { "the fence has other holes" } else { "the chain fence is gone" };
    Ok(Capture::Differs(difference.to_owned()))
}

fn look(rules: &CaptureRules) -> Result<(Capture, Fence), CaptureError> {
    let mut kernel = Connection::open(Family::Netfilter)?;
    let table = match kernel.ask(&nf_tables::get_table()) {
        Ok(replies) => replies,
        Err(error) if error.errno() == Some(libc::ENOENT) => return Ok((Capture::Missing, Fence::Down)),
        Err(error) => return Err(error.into()),
    };
    // Lists of chains hold those of every table.
    let chains = kernel.dump(&nf_tables::list_chains())?;
    let chains: Vec<_> =
        chains.iter().filter_map(|reply| reply.attributes()).filter(|it| nf_tables::is_ours(it)).collect();
    let fence = match ruleset::fence_among(&chains) {
        Fence::Down => Fence::Down,
        _ => Fence::except(excepted(&mut kernel)?),
    };
    let ruleset = Ruleset::new(rules, who_refuses(), &fence);
    if !table.iter().any(|reply| reply.attributes().is_some_and(|found| covers(found, &ruleset.table))) {
        return Ok((Capture::Differs("the table is dormant".to_owned()), fence));
    }
    let rows = kernel.dump(&nf_tables::list_rules())?;
    let rows: Vec<_> = rows.iter().filter_map(|reply| reply.attributes()).collect();
    if let Some(difference) = ruleset.difference(&chains, &rows) {
        return Ok((Capture::Differs(difference), fence));
    }
    Ok((reply_route::difference(rules)?.map_or(Capture::Installed, Capture::Differs), fence))
}

/// The connections that a fence that stands lets pass.
fn excepted(kernel: &mut Connection) -> Result<Older, NetlinkError> {
    let mut older = Older::default();
    for family in [IpFamily::IPv4, IpFamily::IPv6] {
        for reply in unless(kernel.dump(&nf_tables::list_elements(family)), &[libc::ENOENT])? {
            let elements = reply.attributes().map(nf_tables::elements_in).unwrap_or_default();
            older.read(family, elements).ok_or(NetlinkError::Garbled("an element of a set is cut off"))?;
        }
    }
    Ok(older)
}

// === impl CaptureRules ===

impl Default for CaptureRules {
    fn default() -> Self {
        Self {
            outbound_port: 15001,
            inbound_port: 15006,
            hbone_port: 15008,
            own_mark: Mark(0xfa15),
            reply_mark: Mark(0xfa16),
            reply_table: 15006,
        }
    }
}

// === impl CaptureError ===

impl From<NetlinkError> for CaptureError {
    fn from(error: NetlinkError) -> Self {
        match error.errno() {
            Some(libc::EPERM | libc::EACCES) => Self::NotAllowed(error),
            _ if is_not_supported(&error) => Self::NotSupported(error),
            _ => Self::Failed(error),
        }
    }
}

/// The value of one attribute of a kernel object.
fn attribute(object: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(object).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}
