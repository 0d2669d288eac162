//! Where credentials stand in a request, and how they are taken out of it.

use fairway_config::model::CredentialPlace;
use http::header::COOKIE;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};
use percent_encoding::percent_decode;
use std::borrow::Cow;

/// The parts of a request that credentials may stand in.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The headers, those of the connection apart.
    pub headers: &'a HeaderMap,
    /// The target, of which only the query is looked at.
    pub uri: &'a Uri,
}

/// What stands in a place.
#[derive(Debug, PartialEq, Eq)]
pub enum Extracted<'a> {
    /// Nothing that could be credentials.
    Absent,
    /// Credentials, without what stands before them.
    One(Cow<'a, [u8]>),
    /// More than one: servers choose differently among them, so none is taken.
    Many,
}

// === impl Presented ===

impl<'a> Presented<'a> {
    /// Those of a request as it is.
    pub fn of(parts: &'a Parts) -> Self {
        Self { headers: &parts.headers, uri: &parts.uri }
    }

    /// What stands in the first of these places in which something does.
    pub fn first(self, places: &[CredentialPlace]) -> Extracted<'a> {
        let mut found = places.iter().map(|it| self.extract(it));
        found.find(|it| *it != Extracted::Absent).unwrap_or(Extracted::Absent)
    }

    /// What stands in a place.
    pub fn extract(self, place: &CredentialPlace) -> Extracted<'a> {
        match place {
            CredentialPlace::Header { name, prefix } => {
                let mut lines = self.headers.get_all(name).iter();
                let Some(value) = lines.next() else { return Extracted::Absent };
                if lines.next().is_some() {
                    return Extracted::Many;
                }
                match behind(value.as_bytes(), prefix) {
                    Some(credentials) => Extracted::One(Cow::Borrowed(credentials)),
                    None => Extracted::Absent,
                }
            }
            CredentialPlace::Cookie(wanted) => {
                let lines = self.headers.get_all(COOKIE).iter();
                let pairs = lines.flat_map(|it| it.as_bytes().split(|byte| *byte == b';'));
                let values = pairs.filter_map(|it| cookie(it, wanted.as_bytes()));
                one_of(values.map(Cow::Borrowed))
            }
            CredentialPlace::Query(wanted) => {
                let pairs = self.uri.query().into_iter().flat_map(|it| it.split('&'));
                one_of(pairs.filter_map(|it| parameter(it, wanted)))
            }
        }
    }
}

/// Takes what stands in a place out of a request.
pub fn strip(place: &CredentialPlace, parts: &mut Parts) {
    match place {
        CredentialPlace::Header { name, prefix } => {
            let is_other = |it: &HeaderValue| behind(it.as_bytes(), prefix).is_none();
            let others: Vec<HeaderValue> =
                parts.headers.get_all(name).iter().filter(|it| is_other(it)).cloned().collect();
            parts.headers.remove(name);
            parts.headers.extend(others.into_iter().map(|it| (name.clone(), it)));
        }
        CredentialPlace::Cookie(wanted) => {
            let without = |line: &HeaderValue| {
                let pairs = line.as_bytes().split(|byte| *byte == b';');
                let left: Vec<&[u8]> = pairs
                    .filter(|it| cookie(it, wanted.as_bytes()).is_none())
                    .map(<[u8]>::trim_ascii)
                    .collect();
                HeaderValue::from_bytes(&left.join(&b"; "[..])).ok().filter(|it| !it.is_empty())
            };
            let lines: Vec<HeaderValue> = parts.headers.get_all(COOKIE).iter().filter_map(without).collect();
            parts.headers.remove(COOKIE);
            parts.headers.extend(lines.into_iter().map(|it| (COOKIE, it)));
        }
        CredentialPlace::Query(wanted) => strip_parameter(&mut parts.uri, wanted),
    }
}

/// Takes a parameter out of a target. All others stay as they are written.
fn strip_parameter(uri: &mut Uri, wanted: &str) {
    let Some(query) = uri.query() else { return };
    let left: Vec<&str> = query.split('&').filter(|it| parameter(it, wanted).is_none()).collect();
    if left.len() == query.split('&').count() {
        return;
    }
    let target = match left.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), left.join("&")),
    };
    let mut pieces = std::mem::take(uri).into_parts();
    // What is shorter than a target and made of its parts is one.
    pieces.path_and_query =
        Some(PathAndQuery::try_from(target).unwrap_or_else(|_| PathAndQuery::from_static("/")));
    *uri = Uri::from_parts(pieces).unwrap_or_default();
}

fn one_of<'a>(mut values: impl Iterator<Item = Cow<'a, [u8]>>) -> Extracted<'a> {
    match (values.next(), values.next()) {
        (None, _) => Extracted::Absent,
        (Some(value), None) => Extracted::One(value),
        (Some(_), Some(_)) => Extracted::Many,
    }
}

/// What stands behind a prefix, whose case does not matter; none if something else stands there.
fn behind<'a>(value: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix.as_bytes()).then(|| rest.trim_ascii())
}

/// The value of a pair, if the cookie has this name.
fn cookie<'a>(pair: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let pair = pair.trim_ascii();
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
    (name.trim_ascii() == wanted).then(|| value.trim_ascii())
}

/// The value of a pair, if the parameter has this name.
fn parameter<'a>(pair: &'a str, wanted: &str) -> Option<Cow<'a, [u8]>> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (*decoded(name) == *wanted.as_bytes()).then(|| decoded(value))
}

/// As a form writes it: `+` is a space, and `%` with two digits any byte.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    match text.contains('+') {
        true => Cow::Owned(percent_decode(text.replace('+', " ").as_bytes()).collect()),
        false => percent_decode(text.as_bytes()).into(),
    }
}
