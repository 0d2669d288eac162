//! Filters of rules and backends: from what was written to a [`Filter`], or to what is wrong with it.

use super::draft::{Draft, Faults};
use super::origin::Origin;
use super::written::{
    WrittenCors, WrittenFilter, WrittenHeaders, WrittenMirror, WrittenPath, WrittenRedirect, WrittenRewrite,
};
use super::{backend, matching};
use crate::compile::gateway::external_auth::{self, header_name};
use crate::diagnostic::{Diagnostic, Reason, rule};
use fairway_config::model::{
    CorsPolicy, Filter, Fraction, HeaderModifier, InvalidFilter, Mirror, OriginPattern, PathModifier,
    Redirect, UrlRewrite, check_together,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use std::time::Duration;

/// Compiles a list of filters. A filter that cannot be carried out takes its rule with it; one that names something
/// unknown stays, and answers 500 (the API's rule).
pub(super) fn all<'a>(
    draft: &mut Draft<'_, '_>,
    faults: &mut Faults,
    field: &str,
    written: impl Iterator<Item = WrittenFilter<'a>>,
) -> Vec<Filter> {
    let mut filters = Vec::new();
    for (index, it) in written.enumerate() {
        let field = format!("{field}[{index}]");
        let filter = one(draft, &field, it).and_then(|it| checked(&field, it));
        filters.extend(faults.take(filter));
    }
    let has = |is: fn(&Filter) -> bool| filters.iter().any(is);
    if has(|it| matches!(it, Filter::Redirect(_))) && has(|it| matches!(it, Filter::Rewrite(_))) {
        faults.add(rule::redirect_with_rewrite(field));
    }
    if let Err(error) = check_together(&filters) {
        let remedy = "keep one of them";
        faults.add(Diagnostic::error(Reason::FiltersIncompatible, field, error.to_string(), remedy));
        // Of several policies none can be meant in the answer of a rule that does not hold.
        filters.retain(|it| !matches!(it, Filter::Cors(_)));
    }
    filters
}

/// What a proxy would refuse is refused here, by the same functions.
fn checked(field: &str, filter: Filter) -> Result<Filter, Diagnostic> {
    filter.check().map_err(|error| {
        let (part, remedy) = match (&filter, &error) {
            (Filter::RequestHeaders(_), InvalidFilter::Host) => {
                ("requestHeaderModifier", "use a URLRewrite filter with a hostname")
            }
            (Filter::RequestHeaders(_), _) => ("requestHeaderModifier", "remove the header from the filter"),
            (Filter::ResponseHeaders(_), _) => {
                ("responseHeaderModifier", "remove the header from the filter")
            }
            (Filter::Redirect(_), InvalidFilter::Hostname(_)) => {
                ("requestRedirect.hostname", "write a DNS name")
            }
            (Filter::Rewrite(_), InvalidFilter::Hostname(_)) => ("urlRewrite.hostname", "write a DNS name"),
            (Filter::ExternalAuth(_), InvalidFilter::Path(_)) => {
                ("externalAuth.http.path", "correct the path")
            }
            (Filter::ExternalAuth(_), _) => ("externalAuth", "remove the header from the allowed headers"),
            (Filter::Redirect(_), _) => ("requestRedirect.path", "correct the path"),
            (Filter::Rewrite(_), _) => ("urlRewrite.path", "correct the path"),
            _ => ("type", "remove the filter"),
        };
        Diagnostic::error(Reason::FilterInvalid, format!("{field}.{part}"), error.to_string(), remedy)
    })?;
    Ok(filter)
}

/// Whether a filter replaces the prefix that was matched; it needs one.
pub(super) fn replaces_prefix(filter: &Filter) -> bool {
    let path = match filter {
        Filter::Redirect(it) => &it.path,
        Filter::Rewrite(it) => &it.path,
        _ => return false,
    };
    matches!(path, Some(PathModifier::ReplacePrefix(_)))
}

fn one(draft: &mut Draft<'_, '_>, field: &str, written: WrittenFilter<'_>) -> Result<Filter, Diagnostic> {
    Ok(match written {
        WrittenFilter::RequestHeaders(it) => {
            Filter::RequestHeaders(headers(&format!("{field}.requestHeaderModifier"), &it)?)
        }
        WrittenFilter::ResponseHeaders(it) => {
            Filter::ResponseHeaders(headers(&format!("{field}.responseHeaderModifier"), &it)?)
        }
        WrittenFilter::Mirror(it) => Filter::Mirror(mirror(draft, &format!("{field}.requestMirror"), &it)?),
        WrittenFilter::Redirect(it) => Filter::Redirect(redirect(&format!("{field}.requestRedirect"), &it)?),
        WrittenFilter::Rewrite(it) => Filter::Rewrite(rewrite(&format!("{field}.urlRewrite"), &it)?),
        WrittenFilter::Cors(it) => Filter::Cors(cors(draft, &format!("{field}.cors"), &it)?),
        WrittenFilter::ExternalAuth(it) => {
            let field = format!("{field}.externalAuth");
            let resolve = |field: &str, it| backend::resolve(draft, field, it);
            Filter::ExternalAuth(external_auth::compile(&field, &it, resolve)?)
        }
        WrittenFilter::Extension { group, kind, name } => {
            let what = format!("{} {name}", rule::qualified(group, kind));
            let message =
                format!("{what} is not a filter that Fairway knows, so requests are answered with 500");
            let (field, remedy) = (format!("{field}.extensionRef"), "remove the filter");
            draft.unresolved(Diagnostic::error(Reason::FilterExtensionUnknown, field, message, remedy));
            Filter::Unresolved(what.into())
        }
        WrittenFilter::Empty => {
            let message = "the field that belongs to the filter's type is missing";
            let remedy = "add the field that the type names, such as urlRewrite for URLRewrite";
            return Err(Diagnostic::error(Reason::FilterEmpty, field, message, remedy));
        }
    })
}

fn header_value(field: &str, value: &str) -> Result<HeaderValue, Diagnostic> {
    HeaderValue::try_from(value).map_err(|_| {
        let message = "a header value cannot have control characters";
        Diagnostic::error(Reason::HeaderValueInvalid, field, message, "remove them")
    })
}

/// Of names that stand twice the first counts.
fn headers(field: &str, written: &WrittenHeaders<'_>) -> Result<HeaderModifier, Diagnostic> {
    let list = |part: &str, written: &[(&str, &str)]| {
        let mut list: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(written.len());
        for (index, (name, value)) in written.iter().enumerate() {
            let name = header_name(&format!("{field}.{part}[{index}].name"), name)?;
            let value = header_value(&format!("{field}.{part}[{index}].value"), value)?;
            if !list.iter().any(|(held, _)| *held == name) {
                list.push((name, value));
            }
        }
        Ok::<_, Diagnostic>(list)
    };
    let remove = written.remove.iter().enumerate();
    let remove = remove.map(|(index, it)| header_name(&format!("{field}.remove[{index}]"), it));
    Ok(HeaderModifier {
        set: list("set", &written.set)?,
        add: list("add", &written.add)?,
        remove: remove.collect::<Result<_, _>>()?,
    })
}

fn mirror(draft: &mut Draft<'_, '_>, field: &str, written: &WrittenMirror<'_>) -> Result<Mirror, Diagnostic> {
    let share = |numerator: i32, denominator: i32| {
        let parts = u32::try_from(numerator).ok().zip(u32::try_from(denominator).ok());
        parts.and_then(|(numerator, denominator)| Fraction::new(numerator, denominator))
    };
    let fraction = match (written.percent, written.fraction) {
        (None, None) => Some(Fraction::ALL),
        (Some(percent), None) => share(percent, 100),
        (None, Some((numerator, denominator))) => share(numerator, denominator.unwrap_or(100)),
        (Some(_), Some(_)) => {
            return Err(rule::mirror_shares_two(field));
        }
    };
    let Some(fraction) = fraction else {
        return Err(rule::mirror_share_invalid(field));
    };
    Ok(Mirror { target: backend::resolve(draft, &format!("{field}.backendRef"), written.target), fraction })
}

fn path(field: &str, written: &WrittenPath<'_>) -> Result<PathModifier, Diagnostic> {
    match written {
        WrittenPath::Full(Some(path)) => Ok(PathModifier::ReplaceFull((*path).into())),
        WrittenPath::Prefix(Some(path)) => Ok(PathModifier::ReplacePrefix((*path).into())),
        WrittenPath::Full(None) => Err(missing_path(field, "replaceFullPath")),
        WrittenPath::Prefix(None) => Err(missing_path(field, "replacePrefixMatch")),
    }
}

fn missing_path(field: &str, name: &str) -> Diagnostic {
    let message = format!("{name} is missing, and the type asks for it");
    Diagnostic::error(Reason::PathModifierEmpty, field, message, format!("add `{name}`"))
}

fn redirect(field: &str, written: &WrittenRedirect<'_>) -> Result<Redirect, Diagnostic> {
    let status = match written.status {
        None => StatusCode::FOUND,
        Some(code @ (301 | 302 | 303 | 307 | 308)) => {
            u16::try_from(code).ok().and_then(|it| StatusCode::from_u16(it).ok()).unwrap_or(StatusCode::FOUND)
        }
        Some(code) => {
            let message = format!("{code} is not the status code of a redirect");
            let (field, remedy) = (format!("{field}.statusCode"), "use 301, 302, 303, 307 or 308");
            return Err(Diagnostic::error(Reason::RedirectStatusInvalid, field, message, remedy));
        }
    };
    let port = match written.port {
        None => None,
        Some(port) => Some(u16::try_from(port).ok().filter(|it| *it > 0).ok_or_else(|| {
            let (field, message) = (format!("{field}.port"), format!("{port} is not a port number"));
            Diagnostic::error(Reason::RedirectPortInvalid, field, message, "use a number from 1 to 65535")
        })?),
    };
    Ok(Redirect {
        scheme: written.scheme,
        hostname: written.hostname.map(Into::into),
        path: written.path.as_ref().map(|it| path(&format!("{field}.path"), it)).transpose()?,
        port,
        status,
    })
}

fn rewrite(field: &str, written: &WrittenRewrite<'_>) -> Result<UrlRewrite, Diagnostic> {
    Ok(UrlRewrite {
        hostname: written.hostname.map(|it| header_value(&format!("{field}.hostname"), it)).transpose()?,
        path: written.path.as_ref().map(|it| path(&format!("{field}.path"), it)).transpose()?,
    })
}

/// CORS (GEP-1767). `*` in a list stands alone and is told apart by absence.
fn cors(draft: &mut Draft<'_, '_>, field: &str, written: &WrittenCors<'_>) -> Result<CorsPolicy, Diagnostic> {
    let names = |part: &str, written: &[String]| {
        if written.iter().any(|it| it == "*") {
            return Ok(None);
        }
        let names = written.iter().enumerate();
        let names = names.map(|(index, it)| header_name(&format!("{field}.{part}[{index}]"), it));
        names.collect::<Result<Vec<_>, _>>().map(Some)
    };
    let methods = match written.methods.iter().any(|it| it == "*") {
        true => None,
        false => {
            let method = |(index, it): (usize, &String)| {
                let field = format!("{field}.allowMethods[{index}]");
                Method::from_bytes(it.as_bytes()).map_err(|_| {
                    let (message, remedy) =
                        (format!("`{it}` is not an HTTP method"), "use a method such as GET, or *");
                    Diagnostic::error(Reason::CorsMethodInvalid, field, message, remedy)
                })
            };
            Some(written.methods.iter().enumerate().map(method).collect::<Result<Vec<_>, _>>()?)
        }
    };
    let origins = written.origins.iter().enumerate();
    let origins = origins.map(|(index, it)| origin(draft, &format!("{field}.allowOrigins[{index}]"), it));
    Ok(CorsPolicy {
        allow_origins: origins.collect::<Result<_, _>>()?,
        allow_credentials: written.credentials,
        allow_methods: methods,
        allow_headers: names("allowHeaders", written.headers)?,
        expose_headers: names("exposeHeaders", written.expose)?,
        max_age: Duration::from_secs(written.max_age.and_then(|it| u64::try_from(it).ok()).unwrap_or(5)),
    })
}

fn origin(draft: &mut Draft<'_, '_>, field: &str, written: &str) -> Result<OriginPattern, Diagnostic> {
    match Origin::read(written) {
        Some(Origin::Any) => Ok(OriginPattern::Any),
        Some(Origin::Exact(it)) => Ok(OriginPattern::Exact(it.into())),
        Some(Origin::Expression(it)) => matching::regex(draft, field, &it).map(OriginPattern::Pattern),
        None => {
            let message = format!("`{written}` is not an origin");
            let remedy = "write http://host or https://host, or *";
            Err(Diagnostic::error(Reason::CorsOriginInvalid, field, message, remedy))
        }
    }
}
