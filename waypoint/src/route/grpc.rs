//! The alternatives of GRPCRoutes under one hostname, indexed by service and method.

use super::compiled::Candidate;
use super::head::RequestHead;
use super::order::compare;
use super::paths::Span;
use super::predicate::holds;
use ahash::HashMap;
use fairway_config::model::{GrpcMethodMatch, PathMatch, ValueMatch};

/// Alternatives in the order of precedence, and where in it each service and method stands.
#[derive(Debug, Default)]
pub(super) struct GrpcTable {
    candidates: Box<[Candidate]>,
    /// Service and method are exact: by `<service>/<method>`.
    methods: HashMap<Box<str>, Span>,
    /// Only the service is exact: by service.
    services: HashMap<Box<str>, Span>,
    /// The rest, which is looked through.
    rest: Span,
}

// === impl GrpcTable ===

impl GrpcTable {
    /// Sorts and indexes.
    pub fn new(mut candidates: Vec<Candidate>) -> Self {
        candidates.sort_unstable_by(compare);
        let mut table = Self::default();
        for (index, candidate) in candidates.iter().enumerate() {
            let Some(PathMatch::Grpc(it)) = candidate.matched().map(|it| &it.path) else {
                continue;
            };
            let (index_by, name) = match (&it.service, &it.method) {
                (Some(ValueMatch::Exact(service)), Some(ValueMatch::Exact(method))) => {
                    (&mut table.methods, [&**service, "/", &**method].concat())
                }
                (Some(ValueMatch::Exact(service)), _) => (&mut table.services, service.to_string()),
                _ if table.rest.is_empty() => {
                    table.rest = Span::at(index);
                    continue;
                }
                _ => {
                    table.rest.grow_to(index);
                    continue;
                }
            };
            index_by.entry(name.into()).or_insert_with(|| Span::at(index)).grow_to(index);
        }
        table.candidates = candidates.into();
        table
    }

    /// The first alternative that a gRPC request fits.
    pub fn find(&self, head: &RequestHead<'_>) -> Option<&Candidate> {
        let full = head.path.strip_prefix('/')?;
        let (service, method) = full.split_once('/').filter(|(_, method)| !method.contains('/'))?;
        let fits = |it: &&Candidate| match it.matched().map(|it| (&it.path, it)) {
            Some((PathMatch::Grpc(expected), it)) => names(expected, service, method) && holds(it, head),
            _ => false,
        };
        let spans = [self.methods.get(full), self.services.get(service), Some(&self.rest)];
        let parts = spans.into_iter().flatten().filter_map(|it| self.candidates.get(it.range()));
        parts.flatten().find(fits)
    }
}

fn names(expected: &GrpcMethodMatch, service: &str, method: &str) -> bool {
    let is = |expected: &Option<ValueMatch>, text| expected.as_ref().is_none_or(|it| it.matches(text));
    is(&expected.service, service) && is(&expected.method, method)
}
