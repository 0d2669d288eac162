//! Redirects.

use super::list::{Answer, Failure, FilterContext};
use super::path;
use crate::route::normalised_host;
use fairway_config::model::{Redirect, Scheme};
use http::HeaderValue;
use http::header::{HOST, LOCATION};
use http::request::Parts;
use std::fmt::Write;

/// The answer that sends the client elsewhere.
pub(super) fn answer(
    redirect: &Redirect,
    request: &Parts,
    context: &FilterContext<'_>,
) -> Result<Answer, Failure> {
    let location = location(redirect, request, context).ok_or(Failure::NoHost)?;
    let mut answer = Answer::of(redirect.status);
    answer.headers.insert(LOCATION, location);
    Ok(answer)
}

/// The Location. Its port follows the API's rules: the one given; else the well-known one of the scheme given; else the
/// listener's. The well-known port of the scheme is not written.
fn location(redirect: &Redirect, request: &Parts, context: &FilterContext<'_>) -> Option<HeaderValue> {
    let scheme = redirect.scheme.unwrap_or(context.scheme);
    let port = redirect.port.or(redirect.scheme.map(well_known_port)).unwrap_or(context.port);
    let (name, well_known) = match scheme {
        Scheme::Http => ("http", 80),
        Scheme::Https => ("https", 443),
    };
    let own = request.uri.authority().map(|it| it.as_str());
    let own = own.or_else(|| request.headers.get(HOST)?.to_str().ok());
    let host = match &redirect.hostname {
        Some(host) => &**host,
        None => &normalised_host(own?).ok()?,
    };
    if host.is_empty() {
        return None;
    }
    let path = context.original.path();
    let path = match &redirect.path {
        Some(modifier) => path::modified(modifier, path, context.matched),
        None => path.into(),
    };
    let mut location = String::with_capacity(name.len() + host.len() + path.len() + 16);
    let _ = write!(location, "{name}://{host}");
    if port != well_known {
        let _ = write!(location, ":{port}");
    }
    location.push_str(&path);
    if let Some(query) = context.original.query() {
        location.push('?');
        location.push_str(query);
    }
    HeaderValue::try_from(location).ok()
}

fn well_known_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}
