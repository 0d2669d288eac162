//! The way back for answers that are addressed to a client but meant for the tunnel: packets with the reply mark look into
//! a table in which every address is this host's own.

use super::CaptureRules;
use crate::IpFamily;
use crate::link::interface_index;
use crate::netlink::{Attribute, Connection, Family, Message, NetlinkError, attributes, flags, unless};

/// Before the tables that every packet looks into (32766), after the one of local addresses (0).
const PRIORITY: u32 = 15006;

/// Adds them, for each address family the namespace has.
pub(super) fn add(rules: &CaptureRules) -> Result<(), NetlinkError> {
    let mut kernel = Connection::open(Family::Route)?;
    for family in IpFamily::present() {
        let mut route = route(family, rules, kind::NEW_ROUTE, "add");
        route.flags = flags::CREATE | flags::REPLACE;
        kernel.execute(&route)?;
        let mut rule = rule(family, rules, kind::NEW_RULE, "add");
        rule.flags = flags::CREATE | flags::EXCLUSIVE;
        unless(kernel.execute(&rule), &[libc::EEXIST])?;
    }
    Ok(())
}

/// Removes them, if they are there.
pub(super) fn remove(rules: &CaptureRules) -> Result<(), NetlinkError> {
    let mut kernel = Connection::open(Family::Route)?;
    for family in IpFamily::present() {
        unless(kernel.execute(&rule(family, rules, kind::DELETE_RULE, "remove")), &[libc::ENOENT])?;
        unless(
            kernel.execute(&route(family, rules, kind::DELETE_ROUTE, "remove")),
            &[libc::ESRCH, libc::ENOENT],
        )?;
    }
    Ok(())
}

/// What is not there.
pub(super) fn difference(rules: &CaptureRules) -> Result<Option<String>, NetlinkError> {
    let mut kernel = Connection::open(Family::Route)?;
    for family in IpFamily::present() {
        let wanted = [
            (rule(family, rules, kind::GET_RULE, "list"), "rule"),
            (route(family, rules, kind::GET_ROUTE, "list"), "route"),
        ];
        for (wanted, name) in wanted {
            // Strict kernels refuse filters they do not know; everything is listed, and looked through here.
            let list =
                Message { fixed: header(family, 0, 0, 0, 0), attributes: Vec::new(), ..wanted.clone() };
            let found = kernel.dump(&list)?;
            if !found.iter().any(|reply| is(&reply.body, &wanted)) {
                return Ok(Some(format!("the {family:?} {name} for answers is gone")));
            }
        }
    }
    Ok(None)
}

fn is(body: &[u8], wanted: &Message) -> bool {
    const FIXED: usize = 12;
    // Destination length, then table, and the type or action: the parts of the fixed header that we set.
    let same = |at: usize| body.get(at) == wanted.fixed.get(at);
    let Some(found) = body.get(FIXED..) else {
        return false;
    };
    [0, 1, 7].into_iter().all(same)
        && crate::netlink::covers(found, &wanted.attributes)
        && attributes(found).count() > 0
}

mod kind {
    pub(super) const NEW_ROUTE: u16 = 24;
    pub(super) const DELETE_ROUTE: u16 = 25;
    pub(super) const GET_ROUTE: u16 = 26;
    pub(super) const NEW_RULE: u16 = 32;
    pub(super) const DELETE_RULE: u16 = 33;
    pub(super) const GET_RULE: u16 = 34;
}

fn rule(family: IpFamily, rules: &CaptureRules, kind: u16, verb: &str) -> Message {
    const TO_TABLE: u8 = 1;
    Message {
        what: format!("{verb} the {family:?} rule for answers"),
        kind,
        flags: 0,
        fixed: header(family, 0, 0, 0, TO_TABLE),
        attributes: vec![
            Attribute::u32(6, PRIORITY),
            Attribute::u32(10, rules.reply_mark.0),
            Attribute::u32(15, rules.reply_table),
            Attribute::u32(16, u32::MAX),
        ],
    }
}

fn route(family: IpFamily, rules: &CaptureRules, kind: u16, verb: &str) -> Message {
    const STATIC: u8 = 4;
    const HOST: u8 = 254;
    const LOCAL: u8 = 2;
    Message {
        what: format!("{verb} the {family:?} route for answers"),
        kind,
        flags: 0,
        fixed: header(family, 0, STATIC, HOST, LOCAL),
        attributes: vec![Attribute::u32(15, rules.reply_table), Attribute::u32(4, interface_index::LOOPBACK)],
    }
}

/// `struct rtmsg`, and `struct fib_rule_hdr`, which is the same in other words.
fn header(family: IpFamily, table: u8, protocol: u8, scope: u8, kind: u8) -> Vec<u8> {
    vec![family.number(), 0, 0, 0, table, protocol, scope, kind, 0, 0, 0, 0]
}
