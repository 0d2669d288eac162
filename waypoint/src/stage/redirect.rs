//! Redirects: the client is told another address, and no backend hears of the request.

use super::{Failure, StageRequest, StageResponse, SyncStage, Verdict, path};
use crate::host::normalise_host;
use fairway_config::model::{Redirect, Scheme};
use http::HeaderValue;
use http::header::{HOST, LOCATION};
use std::fmt::Write;

/// Answers with a redirect.
#[derive(Debug)]
pub(super) struct RedirectStage(Redirect);

impl RedirectStage {
    pub(super) fn new(redirect: &Redirect) -> Self {
        Self(redirect.clone())
    }
}

impl SyncStage for RedirectStage {
    fn name(&self) -> &'static str {
        "redirect"
    }

    fn describe(&self) -> String {
        format!("answers {} with another location", self.0.status.as_u16())
    }

    fn on_request<'t>(&'t self, request: &mut StageRequest<'_, 't>) -> Verdict {
        let Some(location) = location(&self.0, request) else {
            return Verdict::Fail(Failure::NoHost);
        };
        let mut response = StageResponse::empty(self.0.status);
        response.headers.insert(LOCATION, location);
        Verdict::Respond(Box::new(response))
    }
}

/// The Location. Its port follows the API's rules: the one given; else the well-known one of the scheme given; else the
/// listener's. The well-known port of the scheme is not written.
fn location(redirect: &Redirect, request: &StageRequest<'_, '_>) -> Option<HeaderValue> {
    let (parts, attributes) = (&request.parts, request.attributes);
    let scheme = redirect.scheme.unwrap_or(attributes.scheme);
    let port = redirect.port.or(redirect.scheme.map(well_known_port)).unwrap_or(attributes.port);
    let (name, well_known) = match scheme {
        Scheme::Http => ("http", 80),
        Scheme::Https => ("https", 443),
    };
    let own = parts.headers.get(HOST).and_then(|it| it.to_str().ok());
    let host = match &redirect.hostname {
        Some(host) => &**host,
        None => &normalise_host(own?).ok()?,
    };
    if host.is_empty() {
        return None;
    }
    // `*` asks about the whole server, and is no path that could stand behind a host.
    let path = match request.original.path() {
        "*" => "/",
        path => path,
    };
    let path = match &redirect.path {
        Some(modifier) => path::modify(modifier, path, attributes.rule.as_ref()),
        None => path.into(),
    };
    let mut location = String::with_capacity(name.len() + host.len() + path.len() + 16);
    let _ = write!(location, "{name}://{host}");
    if port != well_known {
        let _ = write!(location, ":{port}");
    }
    location.push_str(&path);
    if let Some(query) = request.original.query() {
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
