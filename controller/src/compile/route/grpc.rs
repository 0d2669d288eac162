//! The rules of a GRPCRoute.

use super::draft::{Draft, Faults};
use super::http::{self, weight};
use super::matching::{self, Comparison};
use super::written::{WrittenRef, grpc_backend_filter, grpc_rule_filter, reference};
use super::{backend, filter};
use fairway_config::model::{GrpcMethodMatch, Match, PathMatch, Rule, Timeouts, WeightedBackend};
use fairway_gateway_api::grpcroutes::{
    GrpcRouteRules, GrpcRouteRulesMatches, GrpcRouteRulesMatchesHeadersType, GrpcRouteRulesMatchesMethod,
    GrpcRouteRulesMatchesMethodType, GrpcRouteSpec,
};

/// Compiles every rule of a GRPCRoute. One with faults stays in its place and refuses what it matches.
pub(super) fn rules(draft: &mut Draft<'_, '_>, spec: &GrpcRouteSpec) {
    for (index, written) in spec.rules.iter().flatten().enumerate() {
        let mut faults = Faults::default();
        let rule = rule(draft, &mut faults, &format!("spec.rules[{index}]"), written);
        draft.push(rule, faults);
    }
}

fn rule(draft: &mut Draft<'_, '_>, faults: &mut Faults, field: &str, written: &GrpcRouteRules) -> Rule {
    let matches =
        matches(draft, faults, &format!("{field}.matches"), written.matches.as_deref().unwrap_or_default());
    let rule_filters = written.filters.iter().flatten().map(grpc_rule_filter);
    let filters = filter::all(draft, faults, &format!("{field}.filters"), rule_filters);
    let mut backends = Vec::new();
    for (index, it) in written.backend_refs.iter().flatten().enumerate() {
        let field = format!("{field}.backendRefs[{index}]");
        let own = it.filters.iter().flatten().map(grpc_backend_filter);
        backends.push(WeightedBackend {
            weight: faults.take(weight(&field, it.weight)).unwrap_or_default(),
            filters: filter::all(draft, faults, &format!("{field}.filters"), own),
            target: backend::resolve(draft, &field, reference!(it)),
        });
    }
    if written.session_persistence.is_some() {
        draft.note(http::session_persistence(field));
    }
    let name = written.name.as_deref().map(Into::into);
    Rule {
        name,
        matches,
        filters,
        backends,
        timeouts: Timeouts::default(),
        retry: None,
        authorizations: Vec::new(),
        limits: Vec::new(),
        authentications: Vec::new(),
    }
}

fn matches(
    draft: &mut Draft<'_, '_>,
    faults: &mut Faults,
    field: &str,
    written: &[GrpcRouteRulesMatches],
) -> Vec<Match> {
    let all = [GrpcRouteRulesMatches::default()];
    let written = if written.is_empty() { &all } else { written };
    let mut matches = Vec::with_capacity(written.len());
    for (index, it) in written.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let headers = it.headers.iter().flatten().map(|it| {
            let how = match it.r#type {
                Some(GrpcRouteRulesMatchesHeadersType::RegularExpression) => Comparison::Regex,
                Some(GrpcRouteRulesMatchesHeadersType::Exact) | None => Comparison::Exact,
            };
            (it.name.as_str(), how, it.value.as_str())
        });
        let method = it.method.as_ref().map(|it| method(draft, faults, &format!("{field}.method"), it));
        matches.push(Match {
            headers: matching::headers(draft, faults, &format!("{field}.headers"), headers),
            ..Match::on_path(PathMatch::Grpc(method.unwrap_or_default()))
        });
    }
    matches
}

/// A part that cannot be carried out leaves every name.
fn method(
    draft: &mut Draft<'_, '_>,
    faults: &mut Faults,
    field: &str,
    written: &GrpcRouteRulesMatchesMethod,
) -> GrpcMethodMatch {
    let how = match written.r#type {
        Some(GrpcRouteRulesMatchesMethodType::RegularExpression) => Comparison::Regex,
        Some(GrpcRouteRulesMatchesMethodType::Exact) | None => Comparison::Exact,
    };
    let mut part = |part: &str, text: &Option<String>| {
        let text = text.as_deref().filter(|it| !it.is_empty())?;
        faults.take(matching::value(draft, &format!("{field}.{part}"), how, text))
    };
    GrpcMethodMatch { service: part("service", &written.service), method: part("method", &written.method) }
}
