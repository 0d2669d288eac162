//! The alternatives of GRPCRoutes under one hostname, indexed by service and method.

use super::compiled::{Candidate, CompiledRoute};
use super::group::{self, Groups};
use super::head::RequestHead;
use super::predicate::holds;
use fairway_config::model::{GrpcMethodMatch, PathMatch, ValueMatch};
use std::sync::Arc;

/// Alternatives by service and method. A clone shares what is not edited.
#[derive(Clone, Debug, Default)]
pub(super) struct GrpcTable {
    /// Service and method are exact: by `<service>/<method>`.
    methods: Groups,
    /// Only the service is exact: by service.
    services: Groups,
    /// The rest, which is looked through.
    rest: Vec<Candidate>,
}

// === impl GrpcTable ===

impl GrpcTable {
    /// Adds a route's alternatives.
    pub fn insert(&mut self, route: &Arc<CompiledRoute>) {
        for candidate in route.candidates() {
            let Some(PathMatch::Grpc(it)) = candidate.matched().map(|it| &it.path) else { continue };
            match self.groups(it) {
                Some((groups, name)) => group::insert_at(groups, &name, candidate.clone()),
                None => group::insert(&mut self.rest, candidate),
            }
        }
    }

    /// Takes a route's alternatives away.
    pub fn remove(&mut self, route: &Arc<CompiledRoute>) {
        for candidate in route.candidates() {
            let Some(PathMatch::Grpc(it)) = candidate.matched().map(|it| &it.path) else { continue };
            match self.groups(it) {
                Some((groups, name)) => group::remove_at(groups, &name, route),
                None => group::remove(&mut self.rest, route),
            }
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty() && self.services.is_empty() && self.rest.is_empty()
    }

    /// The first alternative that a gRPC request fits.
    pub fn find(&self, head: &RequestHead<'_>) -> Option<&Candidate> {
        self.named(head).find(|candidate| candidate.matched().is_some_and(|it| holds(it, head)))
    }

    /// The alternatives whose service and method a path names, in the order of precedence.
    pub fn named<'t>(&'t self, head: &RequestHead<'_>) -> impl Iterator<Item = &'t Candidate> {
        let full = head.path.strip_prefix('/').unwrap_or_default();
        let parts = full.split_once('/').filter(|(_, method)| !method.contains('/'));
        parts.into_iter().flat_map(move |(service, method)| {
            let groups = [self.methods.get(full), self.services.get(service)];
            let candidates = groups.into_iter().flatten().flat_map(|group| group.iter()).chain(&self.rest);
            candidates.filter(move |candidate| match candidate.matched().map(|it| &it.path) {
                Some(PathMatch::Grpc(expected)) => names(expected, service, method, head),
                _ => false,
            })
        })
    }

    /// Every alternative, in no order.
    pub fn candidates(&self) -> Vec<&Candidate> {
        let groups = self.methods.values().chain(self.services.values());
        groups.flat_map(|group| group.iter()).chain(&self.rest).collect()
    }

    /// Where alternatives with this match stand, if not in the rest.
    fn groups(&mut self, it: &GrpcMethodMatch) -> Option<(&mut Groups, Arc<str>)> {
        match (&it.service, &it.method) {
            (Some(ValueMatch::Exact(service)), Some(ValueMatch::Exact(method))) => {
                Some((&mut self.methods, [&**service, "/", &**method].concat().into()))
            }
            (Some(ValueMatch::Exact(service)), _) => Some((&mut self.services, service.clone())),
            _ => None,
        }
    }
}

fn names(expected: &GrpcMethodMatch, service: &str, method: &str, head: &RequestHead<'_>) -> bool {
    let is =
        |expected: &Option<ValueMatch>, text| expected.as_ref().is_none_or(|it| head.part_fits(text, it));
    is(&expected.service, service) && is(&expected.method, method)
}
