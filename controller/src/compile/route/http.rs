//! The rules of an HTTPRoute.

use super::draft::{Draft, Faults};
use super::matching::{self, Comparison};
use super::written::{WrittenRef, http_backend_filter, http_rule_filter, reference};
use super::{backend, filter};
use crate::diagnostic::rule::{
    backend_timeout_too_long, path_not_absolute, prefix_replacement, redirect_with_backends,
};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{InvalidDuration, parse_duration};
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

/// Compiles every rule of an HTTPRoute. One with faults stays in its place and refuses what it matches.
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
        faults.add(redirect_with_backends(format!("{field}.backendRefs")));
    }
    if written.session_persistence.is_some() {
        draft.note(session_persistence(field));
    }
    let timeouts = written.timeouts.as_ref().map(|it| timeouts(&format!("{field}.timeouts"), it));
    let retry = written.retry.as_ref().map(|it| retry(draft, &format!("{field}.retry"), it));
    Rule {
        name: written.name.as_deref().map(Into::into),
        matches,
        filters,
        backends,
        timeouts: timeouts.and_then(|it| faults.take(it)).unwrap_or_default(),
        retry: retry.and_then(|it| faults.take(it)),
        authorizations: Vec::new(),
        limits: Vec::new(),
        authentications: Vec::new(),
    }
}

/// A rule's session persistence has no effect.
pub(super) fn session_persistence(rule: &str) -> Diagnostic {
    let message = "session persistence is not supported: a client's requests go to any endpoint";
    let field = format!("{rule}.sessionPersistence");
    Diagnostic::warning(Reason::SessionPersistence, field, message, "remove it")
}

/// The share of a backend; 1 where none is written.
pub(super) fn weight(field: &str, written: Option<i32>) -> Result<u32, Diagnostic> {
    let weight = written.unwrap_or(1);
    let range = |_| {
        let (field, message) = (format!("{field}.weight"), format!("{weight} is not a valid weight"));
        Diagnostic::error(Reason::WeightInvalid, field, message, "use a number from 0 to 1000000")
    };
    u32::try_from(weight).map_err(range)
}

fn check_prefix(field: &str, matches: &[Match], filters: &[Filter]) -> Result<(), Diagnostic> {
    let by_one_prefix = matches!(matches, [Match { path: PathMatch::Prefix(_), .. }]);
    match filters.iter().any(filter::replaces_prefix) && !by_one_prefix {
        true => Err(prefix_replacement(format!("{field}.filters"))),
        false => Ok(()),
    }
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
        if it.method == Some(HttpRouteRulesMatchesMethod::Connect) {
            let message = "`CONNECT` never matches: it is for forward proxies, and a WebSocket over HTTP/2 is matched as GET";
            let field = format!("{field}.method");
            draft.note(Diagnostic::warning(Reason::ConnectNeverMatches, field, message, "match GET"));
        }
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
            faults.add(path_not_absolute(&*field, text));
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
                    "`{escape}` never matches: paths are compared with unreserved characters decoded and with \
                     percent-encoding in upper case"
                );
                let remedy = format!("write `{normal}`");
                draft.note(Diagnostic::warning(Reason::PathExpressionNeverMatches, field, message, remedy));
            }
            PathMatch::Regex(pattern)
        }
        Err(error) => {
            faults.add(error);
            let begins = format!("{}.*", regex::escape(&matching::plain_beginning(text)));
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
fn timeouts(field: &str, written: &HttpRouteRulesTimeouts) -> Result<Timeouts, Diagnostic> {
    let parse = |part: &str, text: &Option<String>| -> Result<Option<Duration>, Diagnostic> {
        let parsed = text.as_deref().map(parse_duration).transpose();
        parsed.map_err(|error| invalid_duration(format!("{field}.{part}"), &error))
    };
    let (request, backend) =
        (parse("request", &written.request)?, parse("backendRequest", &written.backend_request)?);
    if let (Some(request), Some(backend)) = (request, backend)
        && !request.is_zero()
        && backend > request
    {
        return Err(backend_timeout_too_long(format!("{field}.backendRequest")));
    }
    let limit = |it: Option<Duration>| it.filter(|it| !it.is_zero());
    Ok(Timeouts { request: limit(request), backend_request: limit(backend) })
}

fn invalid_duration(field: String, error: &InvalidDuration) -> Diagnostic {
    Diagnostic::error(Reason::DurationInvalid, field, error.to_string(), "write it as 10s or 500ms")
}

/// GEP-1731: one retry where no number is written; connection errors are retried always. 0 disables retries, which is not the same as
/// to say nothing of them: then a proxy may send elsewhere what an endpoint has not taken.
fn retry(draft: &mut Draft<'_, '_>, field: &str, written: &HttpRouteRulesRetry) -> Result<Retry, Diagnostic> {
    const MOST: i64 = Retry::MOST_ATTEMPTS as i64;
    let asked = written.attempts.unwrap_or(1);
    let range = |_| {
        let (field, message) =
            (format!("{field}.attempts"), format!("{asked} is not a valid number of retries"));
        Diagnostic::error(Reason::RetryAttemptsInvalid, field, message, "use 0 or more")
    };
    let attempts = u32::try_from(asked.min(MOST)).map_err(range)?;
    if asked > MOST {
        let message = format!("a request is retried {MOST} times at most, not {asked} times");
        let (field, remedy) = (format!("{field}.attempts"), format!("use {MOST} or less"));
        draft.note(Diagnostic::warning(Reason::RetryAttemptsTooMany, field, message, remedy));
    }
    let code = |(index, code): (usize, &i64)| {
        let parsed = u16::try_from(*code).ok().filter(|it| (400..=599).contains(it));
        parsed.and_then(|it| StatusCode::from_u16(it).ok()).ok_or_else(|| {
            let (field, message) =
                (format!("{field}.codes[{index}]"), format!("{code} is not the status code of an error"));
            Diagnostic::error(Reason::RetryCodeInvalid, field, message, "use a number from 400 to 599")
        })
    };
    let backoff = written.backoff.as_deref().map(parse_duration).transpose();
    Ok(Retry {
        attempts,
        backoff: backoff.map_err(|error| invalid_duration(format!("{field}.backoff"), &error))?,
        codes: written.codes.iter().flatten().enumerate().map(code).collect::<Result<_, _>>()?,
        connection_errors: true,
    })
}
