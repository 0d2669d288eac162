//! The rules of one listener or Service port.

use super::compiled::{Candidate, CompiledRoute, RuleEntry};
use super::grpc::GrpcTable;
use super::head::RequestHead;
use super::hosts::HostIndex;
use super::order::compare;
use super::paths::PathTable;
use super::predicate::{Mismatch, mismatch};
use super::preflight::Announced;
use super::values::TooLong;
use fairway_config::model::{HostnamePattern, RouteKind};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The rules of one listener or Service port, by hostname.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    hosts: HostIndex<Arc<HostTable>>,
}

/// The rules under one hostname. A clone shares what is not edited.
#[derive(Clone, Debug, Default)]
pub struct HostTable {
    /// By the hostname that the routes themselves give, the most specific first; mostly one.
    tiers: Vec<Tier>,
}

/// A route under a hostname.
#[derive(Clone, Debug)]
pub struct Member {
    /// The compiled route, which all its hosts share.
    pub route: Arc<CompiledRoute>,
    /// The hostname it gives itself; none if it gives none.
    pub original: Option<HostnamePattern>,
}

#[derive(Clone, Debug)]
struct Tier {
    specificity: Option<(bool, usize)>,
    http: Option<Arc<PathTable>>,
    grpc: Option<Arc<GrpcTable>>,
}

/// The rule that serves a request, or none, which is answered with 404 (gRPC: UNIMPLEMENTED). Fails if a part of the request was to be
/// compared and is too long: the rule that asked for it might be the one.
pub fn select<'t>(table: &'t RouteTable, head: &RequestHead<'_>) -> Result<Option<RuleEntry<'t>>, TooLong> {
    let selected = find(table, head);
    head.too_long().map_or(Ok(selected), Err)
}

fn find<'t>(table: &'t RouteTable, head: &RequestHead<'_>) -> Option<RuleEntry<'t>> {
    if let Some(announced) = Announced::read(head)
        && let Some(candidate) = announced.find(table, head)
    {
        return candidate.entry();
    }
    let is_grpc = head.is_grpc();
    table.hosts.covering(&head.host).flat_map(|it| &it.tiers).find_map(|it| it.find(head, is_grpc))
}

// === impl RouteTable ===

impl RouteTable {
    /// The table under exactly this hostname.
    #[cfg(test)]
    pub(crate) fn host(&self, hostname: Option<&HostnamePattern>) -> Option<&Arc<HostTable>> {
        self.hosts.get(hostname)
    }

    /// Changes the table under exactly this hostname; an empty one is taken away.
    pub(crate) fn edit(&mut self, hostname: Option<&HostnamePattern>, edit: impl FnOnce(&mut HostTable)) {
        let mut table = self.hosts.remove(hostname).unwrap_or_default();
        edit(Arc::make_mut(&mut table));
        if !table.tiers.is_empty() {
            self.hosts.insert(hostname, table);
        }
    }

    /// Visits the alternatives of HTTPRoutes whose host and path fit, in the order of precedence.
    pub(super) fn walk<'t, B>(
        &'t self,
        head: &RequestHead<'_>,
        mut visit: impl FnMut(&'t Candidate) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let tiers = self.hosts.covering(&head.host).flat_map(|it| &it.tiers);
        tiers.filter_map(|it| it.http.as_ref()).try_for_each(|it| it.walk(head, &mut visit))
    }

    /// The alternatives whose host and path a request fits, in the order of precedence, and what else it does not fit.
    pub fn considered<'t>(&'t self, head: &RequestHead<'_>) -> Vec<(RuleEntry<'t>, Option<Mismatch<'t>>)> {
        let mut considered = Vec::new();
        let mut consider = |candidate: &'t Candidate| {
            if let (Some(entry), Some(matched)) = (candidate.entry(), candidate.matched()) {
                considered.push((entry, mismatch(matched, head)));
            }
        };
        for tier in self.hosts.covering(&head.host).flat_map(|table| &table.tiers) {
            if let Some(grpc) = tier.grpc.as_ref().filter(|_| head.is_grpc()) {
                grpc.named(head).for_each(&mut consider);
            }
            if let Some(http) = &tier.http {
                let _ = http.walk(head, |candidate| {
                    consider(candidate);
                    ControlFlow::<()>::Continue(())
                });
            }
        }
        considered
    }

    /// Every alternative, in the order of precedence under each hostname; the most specific hostname first.
    pub fn by_host(&self) -> Vec<(String, Vec<RuleEntry<'_>>)> {
        let hosts = self.hosts.entries().into_iter();
        let listed = hosts.map(|(hostname, table)| {
            let tiers = table.tiers.iter().flat_map(|tier| {
                let mut grpc = tier.grpc.as_ref().map(|it| it.candidates()).unwrap_or_default();
                let mut http = tier.http.as_ref().map(|it| it.candidates()).unwrap_or_default();
                grpc.sort_by(|a, b| compare(a, b));
                http.sort_by(|a, b| compare(a, b));
                grpc.into_iter().chain(http)
            });
            (hostname, tiers.filter_map(Candidate::entry).collect())
        });
        listed.collect()
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }
}

// === impl HostTable ===

impl HostTable {
    /// Adds a route, behind those whose own hostname is more specific.
    pub(crate) fn insert(&mut self, member: &Member) {
        let specificity = member.specificity();
        let at = self.tiers.partition_point(|it| it.specificity > specificity);
        if self.tiers.get(at).is_none_or(|it| it.specificity != specificity) {
            self.tiers.reserve_exact(1);
            self.tiers.insert(at, Tier { specificity, http: None, grpc: None });
        }
        let tier = &mut self.tiers[at];
        match member.route.route().kind {
            RouteKind::Http => Arc::make_mut(tier.http.get_or_insert_default()).insert(&member.route),
            RouteKind::Grpc => Arc::make_mut(tier.grpc.get_or_insert_default()).insert(&member.route),
        }
    }

    /// Takes a route away, as it was when it was added.
    pub(crate) fn remove(&mut self, member: &Member) {
        let specificity = member.specificity();
        for tier in self.tiers.iter_mut().filter(|it| it.specificity == specificity) {
            match member.route.route().kind {
                RouteKind::Http => {
                    tier.http = without(tier.http.take(), |it| it.remove(&member.route), PathTable::is_empty)
                }
                RouteKind::Grpc => {
                    tier.grpc = without(tier.grpc.take(), |it| it.remove(&member.route), GrpcTable::is_empty)
                }
            }
        }
        self.tiers.retain(|it| it.http.is_some() || it.grpc.is_some());
    }
}

/// The table after a removal, unless that leaves it empty.
fn without<T: Clone>(
    table: Option<Arc<T>>,
    remove: impl FnOnce(&mut T),
    is_empty: impl FnOnce(&T) -> bool,
) -> Option<Arc<T>> {
    let mut table = table?;
    remove(Arc::make_mut(&mut table));
    (!is_empty(&table)).then_some(table)
}

// === impl Member ===

impl Member {
    fn specificity(&self) -> Option<(bool, usize)> {
        self.original.as_ref().map(HostnamePattern::specificity)
    }
}

// === impl Tier ===

impl Tier {
    fn find(&self, head: &RequestHead<'_>, is_grpc: bool) -> Option<RuleEntry<'_>> {
        let grpc = self.grpc.as_ref().filter(|_| is_grpc).and_then(|it| it.find(head));
        grpc.or_else(|| self.http.as_ref()?.find(head))?.entry()
    }
}
