//! The rules of a GRPCRoute.

use super::backend;
use super::draft::{Draft, Finding};
use super::filter;
use super::http::weight;
use super::matching::{self, Comparison};
use super::written::{WrittenRef, grpc_backend_filter, grpc_rule_filter, reference};
use fairway_config::model::{GrpcMethodMatch, Match, PathMatch, Rule, Timeouts, WeightedBackend};
use fairway_gateway_api::grpcroutes::{
    GrpcRouteRules, GrpcRouteRulesMatches, GrpcRouteRulesMatchesHeadersType, GrpcRouteRulesMatchesMethod,
    GrpcRouteRulesMatchesMethodType, GrpcRouteSpec,
};

/// Compiles the rules.
pub(super) fn rules(draft: &mut Draft<'_, '_>, spec: &GrpcRouteSpec) {
    for (index, written) in spec.rules.iter().flatten().enumerate() {
        let rule = rule(draft, &format!("spec.rules[{index}]"), written);
        draft.push(rule);
    }
}

fn rule(draft: &mut Draft<'_, '_>, field: &str, written: &GrpcRouteRules) -> Result<Rule, Finding> {
    let matches = matches(&format!("{field}.matches"), written.matches.as_deref().unwrap_or_default())?;
    let rule_filters = written.filters.iter().flatten().map(grpc_rule_filter);
    let filters = filter::all(draft, &format!("{field}.filters"), rule_filters)?;
    let mut backends = Vec::new();
    for (index, it) in written.backend_refs.iter().flatten().enumerate() {
        let field = format!("{field}.backendRefs[{index}]");
        let own = it.filters.iter().flatten().map(grpc_backend_filter);
        backends.push(WeightedBackend {
            weight: weight(&field, it.weight)?,
            filters: filter::all(draft, &format!("{field}.filters"), own)?,
            target: backend::resolve(draft, &field, reference!(it)),
        });
    }
    if written.session_persistence.is_some() {
        let field = format!("{field}.sessionPersistence");
        draft.note(field, "is not supported: requests go to any endpoint", "remove it");
    }
    let name = written.name.as_deref().map(Into::into);
    Ok(Rule { name, matches, filters, backends, timeouts: Timeouts::default(), retry: None })
}

fn matches(field: &str, written: &[GrpcRouteRulesMatches]) -> Result<Vec<Match>, Finding> {
    let all = [GrpcRouteRulesMatches::default()];
    let written = if written.is_empty() { &all } else { written };
    let one = |(index, it): (usize, &GrpcRouteRulesMatches)| {
        let field = format!("{field}[{index}]");
        let headers = it.headers.iter().flatten().map(|it| {
            let how = match it.r#type {
                Some(GrpcRouteRulesMatchesHeadersType::RegularExpression) => Comparison::Regex,
                Some(GrpcRouteRulesMatchesHeadersType::Exact) | None => Comparison::Exact,
            };
            (it.name.as_str(), how, it.value.as_str())
        });
        let method = it.method.as_ref().map(|it| method(&format!("{field}.method"), it)).transpose()?;
        Ok(Match {
            path: PathMatch::Grpc(method.unwrap_or_default()),
            headers: matching::headers(&format!("{field}.headers"), headers)?,
            query: Vec::new(),
            method: None,
        })
    };
    written.iter().enumerate().map(one).collect()
}

fn method(field: &str, written: &GrpcRouteRulesMatchesMethod) -> Result<GrpcMethodMatch, Finding> {
    let how = match written.r#type {
        Some(GrpcRouteRulesMatchesMethodType::RegularExpression) => Comparison::Regex,
        Some(GrpcRouteRulesMatchesMethodType::Exact) | None => Comparison::Exact,
    };
    let part = |part: &str, text: &Option<String>| {
        let text = text.as_deref().filter(|it| !it.is_empty());
        text.map(|it| matching::value(&format!("{field}.{part}"), how, it)).transpose()
    };
    Ok(GrpcMethodMatch {
        service: part("service", &written.service)?,
        method: part("method", &written.method)?,
    })
}
