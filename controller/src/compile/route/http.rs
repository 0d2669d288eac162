//! The rules of an HTTPRoute.

use super::draft::{Draft, Faults, Finding};
use super::filter::{self, invalid};
use super::matching::{self, Comparison};
use super::written::{WrittenRef, http_backend_filter, http_rule_filter, reference};
use super::{backend, duration};
use crate::status::reason;
use fairway_config::model::{
    Filter, Match, PathMatch, Pattern, Retry, Rule, Timeouts, WeightedBackend, never_matching_escape,
};
use fairway_gateway_api::httproutes::{
    HttpRouteRules, HttpRouteRulesMatches, HttpRouteRulesMatchesHeadersType, HttpRouteRulesMatchesMethod,
    HttpRouteRulesMatchesPathType, HttpRouteRulesMatchesQueryParamsType, HttpRouteRulesRetry,
    HttpRouteRulesTimeouts, HttpRouteSpec,
};
use http::{Method, StatusCode};
use std::borrow::Cow;
use std::time::Duration;

/// Compiles the rules.
pub(super) fn rules(draft: &mut Draft<'_, '_>, spec: &HttpRouteSpec) {
    let default = [HttpRouteRules::default()];
    // A route without rules is a route with one that matches everything (the CRD's default).
    for (index, written) in spec.rules.as_deref().unwrap_or(&default).iter().enumerate() {
        let mut faults = Faults::default();
        let rule = rule(draft, &mut faults, &format!("spec.rules[{index}]"), written);
        draft.push(rule, faults);
    }
}

fn rule(draft: &mut Draft<'_, '_>, faults: &mut Faults, field: &str, written: &HttpRouteRules) -> Rule {
    let matches =
        matches(draft, faults, &format!("{field}.matches"), written.matches.as_deref().unwrap_or_default());
    let rule_filters = written.filters.iter().flatten().map(http_rule_filter);
    let filters = filter::all(draft, faults, &format!("{field}.filters"), rule_filters);
    faults.take(check_prefix(field, &matches, &filters));
    let mut backends = Vec::new();
    for (index, it) in written.backend_refs.iter().flatten().enumerate() {
        let field = format!("{field}.backendRefs[{index}]");
        let own = it.filters.iter().flatten().map(http_backend_filter);
        let filters = filter::all(draft, faults, &format!("{field}.filters"), own);
        faults.take(check_prefix(&field, &matches, &filters));
        let weight = faults.take(weight(&field, it.weight)).unwrap_or_default();
        backends.push(WeightedBackend {
            weight,
            target: backend::resolve(draft, &field, reference!(it)),
            filters,
        });
    }
    let redirects = filters.iter().any(|it| matches!(it, Filter::Redirect(_)));
    if redirects && !backends.is_empty() {
        let message = "a rule that redirects sends nothing to its backends";
        let field = format!("{field}.backendRefs");
        faults.add(Finding::dropped(
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
    let timeouts = written.timeouts.as_ref().map(|it| timeouts(&format!("{field}.timeouts"), it));
    let retry = written.retry.as_ref().map(|it| retry(&format!("{field}.retry"), it));
    Rule {
        name: written.name.as_deref().map(Into::into),
        matches,
        filters,
        backends,
        timeouts: timeouts.and_then(|it| faults.take(it)).unwrap_or_default(),
        retry: retry.and_then(|it| faults.take(it)).flatten(),
    }
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

fn matches(
    draft: &mut Draft<'_, '_>,
    faults: &mut Faults,
    field: &str,
    written: &[HttpRouteRulesMatches],
) -> Vec<Match> {
    if written.is_empty() {
        return vec![Match::on_path(PathMatch::Prefix("".into()))];
    }
    let mut matches = Vec::with_capacity(written.len());
    for (index, it) in written.iter().enumerate() {
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
        matches.push(Match {
            path: path(draft, faults, &format!("{field}.path"), it),
            headers: matching::headers(draft, faults, &format!("{field}.headers"), headers),
            query: matching::query(draft, faults, &format!("{field}.queryParams"), query),
            method: it.method.as_ref().map(method),
        });
    }
    matches
}

fn path(
    draft: &mut Draft<'_, '_>,
    faults: &mut Faults,
    field: &str,
    written: &HttpRouteRulesMatches,
) -> PathMatch {
    let Some(path) = &written.path else { return PathMatch::Prefix("".into()) };
    let text = path.value.as_deref().unwrap_or("/");
    let field = format!("{field}.value");
    if path.r#type == Some(HttpRouteRulesMatchesPathType::RegularExpression) {
        return expression(draft, faults, &field, text);
    }
    // Such a path is in no request; the one that is meant is.
    let text: Cow<'_, str> = match text.starts_with('/') {
        true => text.into(),
        false => {
            faults.add(invalid(field, format!("`{text}` does not start with /"), "write an absolute path"));
            format!("/{text}").into()
        }
    };
    match path.r#type {
        Some(HttpRouteRulesMatchesPathType::Exact) => PathMatch::Exact(text.into()),
        _ => PathMatch::Prefix(text.trim_end_matches('/').into()),
    }
}

/// An expression over paths. One that cannot be carried out leaves every path that it could have meant: those with its plain
/// beginning.
fn expression(draft: &mut Draft<'_, '_>, faults: &mut Faults, field: &str, text: &str) -> PathMatch {
    match matching::regex(draft, field, text) {
        Ok(pattern) => {
            if let Some((escape, normal)) = never_matching_escape(text) {
                let message = format!(
                    "`{escape}` is in no path: paths are compared with unreserved characters decoded and escapes in upper case"
                );
                draft.note(field, message, format!("write `{normal}`"));
            }
            PathMatch::Regex(pattern)
        }
        Err(finding) => {
            faults.add(finding);
            let begins = format!("{}.*", regex::escape(matching::plain_beginning(text)));
            Pattern::new(&begins).map_or(PathMatch::Prefix("".into()), PathMatch::Regex)
        }
    }
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
