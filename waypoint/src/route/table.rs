//! The rules of one listener or Service port.

use super::compiled::{Candidate, CompiledRoute, RuleEntry};
use super::grpc::GrpcTable;
use super::head::RequestHead;
use super::hosts::HostIndex;
use super::paths::PathTable;
use fairway_config::model::{HostnamePattern, RouteKind};
use std::cmp::Reverse;
use std::sync::Arc;

/// The rules of one listener or Service port, by hostname.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    hosts: HostIndex<Arc<HostTable>>,
}

/// The rules under one hostname.
#[derive(Debug, Default)]
pub struct HostTable {
    routes: Box<[Arc<CompiledRoute>]>,
    /// By the hostname that the routes themselves give, the most specific first; mostly one.
    tiers: Box<[Tier]>,
}

/// A route under a hostname.
#[derive(Clone, Debug)]
pub struct Member {
    /// The route.
    pub route: Arc<CompiledRoute>,
    /// The hostname it gives itself; none if it gives none.
    pub original: Option<HostnamePattern>,
}

#[derive(Debug, Default)]
struct Tier {
    http: Option<Box<PathTable>>,
    grpc: Option<Box<GrpcTable>>,
}

/// The rule that serves a request, or none, which is answered with 404 (gRPC: UNIMPLEMENTED).
pub fn select<'t>(table: &'t RouteTable, head: &RequestHead<'_>) -> Option<RuleEntry<'t>> {
    let is_grpc = head.is_grpc();
    table.hosts.covering(&head.host).flat_map(|it| &it.tiers).find_map(|it| it.find(head, is_grpc))
}

// === impl RouteTable ===

impl RouteTable {
    /// The table under exactly this hostname.
    pub(crate) fn host(&self, hostname: Option<&HostnamePattern>) -> Option<&Arc<HostTable>> {
        self.hosts.get(hostname)
    }

    /// Replaces the table under exactly this hostname; an empty one is taken away.
    pub(crate) fn put(&mut self, hostname: Option<&HostnamePattern>, table: HostTable) {
        if table.routes.is_empty() {
            self.hosts.remove(hostname);
        } else {
            self.hosts.insert(hostname, Arc::new(table));
        }
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }
}

// === impl HostTable ===

impl HostTable {
    /// Sorts and indexes the rules of these routes.
    pub fn new(mut members: Vec<Member>) -> Self {
        let rank = |it: &Member| Reverse(it.original.as_ref().map(HostnamePattern::specificity));
        members.sort_by_cached_key(rank);
        let tiers = members.chunk_by(|a, b| rank(a) == rank(b)).map(Tier::new).collect();
        Self { routes: members.into_iter().map(|it| it.route).collect(), tiers }
    }

    /// The routes that stand here.
    pub fn routes(&self) -> &[Arc<CompiledRoute>] {
        &self.routes
    }
}

// === impl Tier ===

impl Tier {
    fn new(members: &[Member]) -> Self {
        let of = |kind: RouteKind| -> Option<Vec<Candidate>> {
            let routes = members.iter().filter(|it| it.route.route().kind == kind);
            let candidates: Vec<_> = routes.flat_map(|it| it.route.candidates()).collect();
            (!candidates.is_empty()).then_some(candidates)
        };
        Self {
            http: of(RouteKind::Http).map(|it| Box::new(PathTable::new(it))),
            grpc: of(RouteKind::Grpc).map(|it| Box::new(GrpcTable::new(it))),
        }
    }

    fn find(&self, head: &RequestHead<'_>, is_grpc: bool) -> Option<RuleEntry<'_>> {
        let grpc = self.grpc.as_ref().filter(|_| is_grpc).and_then(|it| it.find(head));
        grpc.or_else(|| self.http.as_ref()?.find(head))?.entry()
    }
}
