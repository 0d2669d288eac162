//! Filters.

use super::backend;
use super::draft::{Draft, Faults, Finding};
use super::matching;
use super::written::{
    WrittenCors, WrittenFilter, WrittenHeaders, WrittenMirror, WrittenPath, WrittenRedirect, WrittenRewrite,
};
use crate::status::reason;
use fairway_config::model::{
    CorsPolicy, Filter, Fraction, HeaderModifier, InvalidFilter, Mirror, OriginPattern, PathModifier,
    Redirect, UrlRewrite, check_together,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use std::fmt;
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
        let message = "RequestRedirect and URLRewrite cannot stand together: a redirect sends nothing on";
        faults.add(Finding::dropped(reason::INCOMPATIBLE_FILTERS, field, message, "keep one of them"));
    }
    if let Err(error) = check_together(&filters) {
        faults.add(Finding::dropped(reason::INCOMPATIBLE_FILTERS, field, error, "keep one of them"));
        // Of several policies none can be meant in the answer of a rule that does not hold.
        filters.retain(|it| !matches!(it, Filter::Cors(_)));
    }
    filters
}

/// What a proxy would refuse is refused here, by the same functions.
fn checked(field: &str, filter: Filter) -> Result<Filter, Finding> {
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
            (Filter::Redirect(_), _) => ("requestRedirect.path", "correct the path"),
            (Filter::Rewrite(_), _) => ("urlRewrite.path", "correct the path"),
            _ => ("type", "remove the filter"),
        };
        invalid(format!("{field}.{part}"), error, remedy)
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

fn one(draft: &mut Draft<'_, '_>, field: &str, written: WrittenFilter<'_>) -> Result<Filter, Finding> {
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
        WrittenFilter::Extension { group, kind, name } => {
            let what = format!("{group}/{kind} {name}");
            let message =
                format!("{what} is no filter that Fairway knows, so requests are answered with 500");
            draft.unresolved(
                reason::INVALID_KIND,
                format!("{field}.extensionRef"),
                message,
                "remove the filter",
            );
            Filter::Unresolved(what.into())
        }
        WrittenFilter::Unsupported(kind) => {
            let message = format!("filters of type {kind} are not supported");
            return Err(Finding::dropped(
                reason::UNSUPPORTED_VALUE,
                format!("{field}.type"),
                message,
                "remove the filter",
            ));
        }
        WrittenFilter::Empty => {
            return Err(invalid(field, "the part that its type asks for is missing", "write it"));
        }
    })
}

pub(super) fn invalid(field: impl Into<String>, message: impl fmt::Display, remedy: &str) -> Finding {
    Finding::dropped(reason::UNSUPPORTED_VALUE, field, message, remedy)
}

pub(super) fn header_name(field: &str, name: &str) -> Result<HeaderName, Finding> {
    let name = HeaderName::try_from(name);
    name.map_err(|_| invalid(field, "not the name of a header", "use letters, digits and dashes"))
}

fn header_value(field: &str, value: &str) -> Result<HeaderValue, Finding> {
    let value = HeaderValue::try_from(value);
    value.map_err(|_| invalid(field, "not the value of a header", "remove control characters"))
}

/// Of names that stand twice the first counts.
fn headers(field: &str, written: &WrittenHeaders<'_>) -> Result<HeaderModifier, Finding> {
    let list = |part: &str, written: &[(&str, &str)]| {
        let mut list: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(written.len());
        for (index, (name, value)) in written.iter().enumerate() {
            let name = header_name(&format!("{field}.{part}[{index}].name"), name)?;
            let value = header_value(&format!("{field}.{part}[{index}].value"), value)?;
            if !list.iter().any(|(held, _)| *held == name) {
                list.push((name, value));
            }
        }
        Ok(list)
    };
    let remove = written.remove.iter().enumerate();
    let remove = remove.map(|(index, it)| header_name(&format!("{field}.remove[{index}]"), it));
    Ok(HeaderModifier {
        set: list("set", &written.set)?,
        add: list("add", &written.add)?,
        remove: remove.collect::<Result<_, _>>()?,
    })
}

fn mirror(draft: &mut Draft<'_, '_>, field: &str, written: &WrittenMirror<'_>) -> Result<Mirror, Finding> {
    let share = |numerator: i32, denominator: i32| {
        let parts = u32::try_from(numerator).ok().zip(u32::try_from(denominator).ok());
        parts.and_then(|(numerator, denominator)| Fraction::new(numerator, denominator))
    };
    let fraction = match (written.percent, written.fraction) {
        (None, None) => Some(Fraction::ALL),
        (Some(percent), None) => share(percent, 100),
        (None, Some((numerator, denominator))) => share(numerator, denominator.unwrap_or(100)),
        (Some(_), Some(_)) => {
            return Err(invalid(field, "percent and fraction cannot stand together", "keep one of them"));
        }
    };
    let Some(fraction) = fraction else {
        return Err(invalid(
            field,
            "the share to copy is more than the whole, or none",
            "use a share from 0 to 1",
        ));
    };
    Ok(Mirror { target: backend::resolve(draft, &format!("{field}.backendRef"), written.target), fraction })
}

fn path(field: &str, written: &WrittenPath<'_>) -> Result<PathModifier, Finding> {
    match written {
        WrittenPath::Full(Some(path)) => Ok(PathModifier::ReplaceFull((*path).into())),
        WrittenPath::Prefix(Some(path)) => Ok(PathModifier::ReplacePrefix((*path).into())),
        WrittenPath::Full(None) => Err(invalid(field, "replaceFullPath is missing", "write it")),
        WrittenPath::Prefix(None) => Err(invalid(field, "replacePrefixMatch is missing", "write it")),
    }
}

fn redirect(field: &str, written: &WrittenRedirect<'_>) -> Result<Redirect, Finding> {
    let status = match written.status {
        None => StatusCode::FOUND,
        Some(code @ (301 | 302 | 303 | 307 | 308)) => {
            u16::try_from(code).ok().and_then(|it| StatusCode::from_u16(it).ok()).unwrap_or(StatusCode::FOUND)
        }
        Some(code) => {
            let message = format!("{code} is no code of a redirect");
            return Err(invalid(format!("{field}.statusCode"), message, "use 301, 302, 303, 307 or 308"));
        }
    };
    let port = match written.port {
        None => None,
        Some(port) => Some(u16::try_from(port).ok().filter(|it| *it > 0).ok_or_else(|| {
            invalid(format!("{field}.port"), format!("{port} is not a port"), "use a number from 1 to 65535")
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

fn rewrite(field: &str, written: &WrittenRewrite<'_>) -> Result<UrlRewrite, Finding> {
    Ok(UrlRewrite {
        hostname: written.hostname.map(|it| header_value(&format!("{field}.hostname"), it)).transpose()?,
        path: written.path.as_ref().map(|it| path(&format!("{field}.path"), it)).transpose()?,
    })
}

/// CORS (GEP-1767). `*` in a list stands alone and is told apart by absence.
fn cors(draft: &mut Draft<'_, '_>, field: &str, written: &WrittenCors<'_>) -> Result<CorsPolicy, Finding> {
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
                Method::from_bytes(it.as_bytes())
                    .map_err(|_| invalid(field, format!("`{it}` is no method"), "use GET, …"))
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

/// An origin: `scheme://host`, a port where it is not the scheme's own, and `*` for any run of characters of the host.
fn origin(draft: &mut Draft<'_, '_>, field: &str, written: &str) -> Result<OriginPattern, Finding> {
    if written == "*" {
        return Ok(OriginPattern::Any);
    }
    let lower = written.to_ascii_lowercase();
    // A browser leaves the scheme's own port out.
    let plain = match lower.split_once("://") {
        Some(("http", rest)) => format!("http://{}", rest.strip_suffix(":80").unwrap_or(rest)),
        Some(("https", rest)) => format!("https://{}", rest.strip_suffix(":443").unwrap_or(rest)),
        _ => return Err(invalid(field, format!("`{written}` is no origin"), "write scheme://host, or *")),
    };
    if !plain.contains('*') {
        return Ok(OriginPattern::Exact(plain.into()));
    }
    let pieces: Vec<String> = plain.split('*').map(regex::escape).collect();
    matching::regex(draft, field, &pieces.join("[a-z0-9.-]+")).map(OriginPattern::Pattern)
}
