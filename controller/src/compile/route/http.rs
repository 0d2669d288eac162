//! The rules of an HTTPRoute.

use super::draft::{Draft, Finding};
use super::filter::{self, invalid};
use super::matching::{self, Comparison};
use super::written::{WrittenRef, http_backend_filter, http_rule_filter, reference};
use super::{backend, duration};
use crate::status::reason;
use fairway_config::model::{Filter, Match, PathMatch, Retry, Rule, Timeouts, WeightedBackend};
use fairway_gateway_api::httproutes::{
    HttpRouteRules, HttpRouteRulesMatches, HttpRouteRulesMatchesHeadersType, HttpRouteRulesMatchesMethod,
    HttpRouteRulesMatchesPathType, HttpRouteRulesMatchesQueryParamsType, HttpRouteRulesRetry,
    HttpRouteRulesTimeouts, HttpRouteSpec,
};
use http::{Method, StatusCode};
use std::time::Duration;

/// Compiles the rules.
pub(super) fn rules(draft: &mut Draft<'_, '_>, spec: &HttpRouteSpec) {
    let default = [HttpRouteRules::default()];
    // A route without rules is a route with one that matches everything (the CRD's default).
    for (index, written) in spec.rules.as_deref().unwrap_or(&default).iter().enumerate() {
        let rule = rule(draft, &format!("spec.rules[{index}]"), written);
        draft.push(rule);
    }
}

fn rule(draft: &mut Draft<'_, '_>, field: &str, written: &HttpRouteRules) -> Result<Rule, Finding> {
    let matches = matches(&format!("{field}.matches"), written.matches.as_deref().unwrap_or_default())?;
    let rule_filters = written.filters.iter().flatten().map(http_rule_filter);
    let filters = filter::all(draft, &format!("{field}.filters"), rule_filters)?;
    check_prefix(field, &matches, &filters)?;
    let mut backends = Vec::new();
    for (index, it) in written.backend_refs.iter().flatten().enumerate() {
        let field = format!("{field}.backendRefs[{index}]");
        let own = it.filters.iter().flatten().map(http_backend_filter);
        let filters = filter::all(draft, &format!("{field}.filters"), own)?;
        check_prefix(&field, &matches, &filters)?;
        backends.push(WeightedBackend {
            weight: weight(&field, it.weight)?,
            target: backend::resolve(draft, &field, reference!(it)),
            filters,
        });
    }
    let redirects = filters.iter().any(|it| matches!(it, Filter::Redirect(_)));
    if redirects && !backends.is_empty() {
        let message = "a rule that redirects sends nothing to its backends";
        let field = format!("{field}.backendRefs");
        return Err(Finding::dropped(
            reason::INCOMPATIBLE_FILTERS,
            field,
            message,
            "remove the backends or the redirect",
        ));
    }
    if written.session_persistence.is_some() {
        let field = format!("{field}.sessionPersistence");
        draft.note(field, "is not supported: requests go to any endpoint", "remove it");
    }
    Ok(Rule {
        name: written.name.as_deref().map(Into::into),
        matches,
        filters,
        backends,
        timeouts: written
            .timeouts
            .as_ref()
            .map_or(Ok(Timeouts::default()), |it| timeouts(&format!("{field}.timeouts"), it))?,
        retry: written.retry.as_ref().map(|it| retry(&format!("{field}.retry"), it)).transpose()?.flatten(),
    })
}

/// The share of a backend; 1 where none is written.
pub(super) fn weight(field: &str, written: Option<i32>) -> Result<u32, Finding> {
    let weight = written.unwrap_or(1);
    let range = |_| {
        invalid(format!("{field}.weight"), format!("{weight} is no share"), "use a number from 0 to 1000000")
    };
    u32::try_from(weight).map_err(range)
}

fn check_prefix(field: &str, matches: &[Match], filters: &[Filter]) -> Result<(), Finding> {
    let by_prefix = matches.iter().all(|it| matches!(it.path, PathMatch::Prefix(_)));
    if filters.iter().any(filter::replaces_prefix) && !by_prefix {
        let message = "replacePrefixMatch needs a matched prefix";
        return Err(invalid(
            format!("{field}.filters"),
            message,
            "match by PathPrefix, or use replaceFullPath",
        ));
    }
    Ok(())
}

fn matches(field: &str, written: &[HttpRouteRulesMatches]) -> Result<Vec<Match>, Finding> {
    if written.is_empty() {
        return Ok(vec![Match {
            path: PathMatch::Prefix("".into()),
            headers: vec![],
            query: vec![],
            method: None,
        }]);
    }
    let one = |(index, it): (usize, &HttpRouteRulesMatches)| {
        let field = format!("{field}[{index}]");
        let headers = it.headers.iter().flatten().map(|it| {
            let how = match it.r#type {
                Some(HttpRouteRulesMatchesHeadersType::RegularExpression) => Comparison::Regex,
                Some(HttpRouteRulesMatchesHeadersType::Exact) | None => Comparison::Exact,
            };
            (it.name.as_str(), how, it.value.as_str())
        });
        let query = it.query_params.iter().flatten().map(|it| {
            let how = match it.r#type {
                Some(HttpRouteRulesMatchesQueryParamsType::RegularExpression) => Comparison::Regex,
                Some(HttpRouteRulesMatchesQueryParamsType::Exact) | None => Comparison::Exact,
            };
            (it.name.as_str(), how, it.value.as_str())
        });
        Ok(Match {
            path: path(&format!("{field}.path"), it)?,
            headers: matching::headers(&format!("{field}.headers"), headers)?,
            query: matching::query(&format!("{field}.queryParams"), query)?,
            method: it.method.as_ref().map(method),
        })
    };
    written.iter().enumerate().map(one).collect()
}

fn path(field: &str, written: &HttpRouteRulesMatches) -> Result<PathMatch, Finding> {
    let Some(path) = &written.path else { return Ok(PathMatch::Prefix("".into())) };
    let text = path.value.as_deref().unwrap_or("/");
    let is_regex = path.r#type == Some(HttpRouteRulesMatchesPathType::RegularExpression);
    if !is_regex && !text.starts_with('/') {
        return Err(invalid(
            format!("{field}.value"),
            format!("`{text}` does not start with /"),
            "write an absolute path",
        ));
    }
    Ok(match path.r#type {
        Some(HttpRouteRulesMatchesPathType::Exact) => PathMatch::Exact(text.into()),
        Some(HttpRouteRulesMatchesPathType::RegularExpression) => {
            PathMatch::Regex(matching::regex(&format!("{field}.value"), text)?)
        }
        Some(HttpRouteRulesMatchesPathType::PathPrefix) | None => {
            PathMatch::Prefix(text.strip_suffix('/').unwrap_or(text).into())
        }
    })
}

fn method(written: &HttpRouteRulesMatchesMethod) -> Method {
    match written {
        HttpRouteRulesMatchesMethod::Get => Method::GET,
        HttpRouteRulesMatchesMethod::Head => Method::HEAD,
        HttpRouteRulesMatchesMethod::Post => Method::POST,
        HttpRouteRulesMatchesMethod::Put => Method::PUT,
        HttpRouteRulesMatchesMethod::Delete => Method::DELETE,
        HttpRouteRulesMatchesMethod::Connect => Method::CONNECT,
        HttpRouteRulesMatchesMethod::Options => Method::OPTIONS,
        HttpRouteRulesMatchesMethod::Trace => Method::TRACE,
        HttpRouteRulesMatchesMethod::Patch => Method::PATCH,
    }
}

/// GEP-1742: zero is no limit; the limit of one try cannot be more than that of all.
fn timeouts(field: &str, written: &HttpRouteRulesTimeouts) -> Result<Timeouts, Finding> {
    let parse = |part: &str, text: &Option<String>| -> Result<Option<Duration>, Finding> {
        let parsed = text.as_deref().map(duration::parse).transpose();
        parsed.map_err(|error| invalid(format!("{field}.{part}"), error, "write it as 10s or 500ms"))
    };
    let (request, backend) =
        (parse("request", &written.request)?, parse("backendRequest", &written.backend_request)?);
    if let (Some(request), Some(backend)) = (request, backend)
        && !request.is_zero()
        && backend > request
    {
        let message = "one try may not take longer than the whole request";
        return Err(invalid(format!("{field}.backendRequest"), message, "make it at most timeouts.request"));
    }
    let limit = |it: Option<Duration>| it.filter(|it| !it.is_zero());
    Ok(Timeouts { request: limit(request), backend_request: limit(backend) })
}

/// GEP-1731: one retry where no number is written, none where it is 0; connection errors are retried always.
fn retry(field: &str, written: &HttpRouteRulesRetry) -> Result<Option<Retry>, Finding> {
    let attempts = written.attempts.unwrap_or(1);
    let range = |_| {
        invalid(format!("{field}.attempts"), format!("{attempts} is no number of retries"), "use 0 or more")
    };
    let attempts = u32::try_from(attempts).map_err(range)?;
    if attempts == 0 {
        return Ok(None);
    }
    let code = |(index, code): (usize, &i64)| {
        let parsed = u16::try_from(*code).ok().filter(|it| (400..=599).contains(it));
        parsed.and_then(|it| StatusCode::from_u16(it).ok()).ok_or_else(|| {
            invalid(
                format!("{field}.codes[{index}]"),
                format!("{code} is no code of an error"),
                "use 400 to 599",
            )
        })
    };
    let backoff = written.backoff.as_deref().map(duration::parse).transpose();
    Ok(Some(Retry {
        attempts,
        backoff: backoff
            .map_err(|error| invalid(format!("{field}.backoff"), error, "write it as 10s or 500ms"))?,
        codes: written.codes.iter().flatten().enumerate().map(code).collect::<Result<_, _>>()?,
        connection_errors: true,
    }))
}
