//! Whether a client has said who it is: to the listener that its request came by, to the rule that takes it, and to the Service that it
//! is for. All of them have to be satisfied: none of them takes away what another asks for.
//!
//! First every header is taken out that only this proxy may set, in every spelling. Then all are asked, of the request as it came. Only
//! when none of them refuses, the backend is told who the client is, and the credentials are taken out that are not meant for it.
//!
//! The filters of a listener stand behind what the listener asks for, and before what the rule asks for. So what the listener has asked
//! for is not asked again, and the rule looks for credentials in the request as it came to the filters.

#[cfg(test)]
mod tests;

use super::Reason;
use super::access::{PolicyCheck, PolicySet, RequestSource};
use super::execution::{Execution, Notes};
use super::guards::Guards;
use crate::authentication::{Accepted, Presented, Verdict, Verifier, strip};
use crate::header_names::{Spellings, remove_spellings};
use crate::route::RequestHead;
use crate::table::{Authenticator, Tables};
use fairway_config::model::AuthenticationKey;
use fairway_policy::{Path, Request};
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What authentication leaves behind for the rest of a request. Boxed: a request that meets none has room for a pointer.
#[derive(Debug, Default)]
pub(crate) struct Authenticated(Option<Box<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// The request as it came to the filters of its listener.
    came: Option<(HeaderMap, Uri)>,
    /// Headers of the request of which it has decided what they say: no trailer says it.
    owned: Vec<HeaderName>,
    /// What the client is asked for, if it is refused.
    challenge: Option<HeaderValue>,
}

/// A policy that asks a client who it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'t> {
    pub key: &'t AuthenticationKey,
    pub by: &'t Authenticator,
}

// === impl Authenticated ===

impl Authenticated {
    /// Headers of which no trailer may say anything.
    pub(super) fn owned(&self) -> Option<Arc<[HeaderName]>> {
        let kept = self.0.as_ref().filter(|it| !it.owned.is_empty())?;
        Some(kept.owned.as_slice().into())
    }

    /// Tells a client that is refused what it is asked for.
    pub(super) fn challenge(&self, response: &mut HeaderMap) {
        if let Some(challenge) = self.0.as_ref().and_then(|it| it.challenge.as_ref()) {
            response.insert(WWW_AUTHENTICATE, challenge.clone());
        }
    }

    fn kept(&mut self) -> &mut Kept {
        self.0.get_or_insert_default()
    }
}

/// Lets a request pass whose client has said who it is, as the listener asks for it, before the filters of the listener see it.
pub(super) async fn admit<'t, E: Execution<'t>>(
    check: &mut PolicyCheck<'_, 't, E>,
    parts: &mut Parts,
    authenticated: &mut Authenticated,
) -> Result<(), Reason> {
    authenticated.kept().came = Some((parts.headers.clone(), parts.uri.clone()));
    run(check, check.policies, parts, authenticated).await
}

/// Lets a request pass whose client has said who it is, as everything asks for it that stands on its way.
pub(super) async fn authenticate<'t, E: Execution<'t>>(
    check: &mut PolicyCheck<'_, 't, E>,
    parts: &mut Parts,
    authenticated: &mut Authenticated,
) -> Result<(), Reason> {
    let mut policies = check.policies;
    if check.is_admitted_at_listener {
        policies.listener = Guards::None;
    }
    run(check, policies, parts, authenticated).await
}

async fn run<'t, E: Execution<'t>>(
    check: &mut PolicyCheck<'_, 't, E>,
    policies: PolicySet<'t>,
    parts: &mut Parts,
    authenticated: &mut Authenticated,
) -> Result<(), Reason> {
    let tables = check.tables;
    let mut asked: SmallVec<[Asked<'t>; 4]> = SmallVec::new();
    for (key, found) in targets(policies, tables) {
        let Some(found) = found.filter(|it| !it.verifier.is_closed()) else {
            check.notes.closed_by_authentication(key);
            return Err(Reason::UnresolvedAuthentication);
        };
        asked.push(Asked { key, by: found });
    }
    for name in asked.iter().flat_map(|it| it.by.verifier.owned()) {
        remove_spellings(&mut parts.headers, name, Spellings::All);
        authenticated.kept().owned.push(name.clone());
    }
    // Tokens are over at a time of the wall clock.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |it| it.as_secs());
    let tokens = tables.authentications().tokens();
    let mut accepted: SmallVec<[Accepted<'t>; 4]> = SmallVec::new();
    let mut refused = None;
    {
        let came = authenticated.0.as_ref().and_then(|it| it.came.as_ref());
        let presented = came.map_or(Presented::of(parts), |(headers, uri)| Presented { headers, uri });
        for it in asked {
            let Asked { key, by } = it;
            if by.verifier.has_exemptions() && is_exempt(&by.verifier, check.source, parts)? {
                continue;
            }
            match check.execution.verify(it, check.notes, |by| by.verify(presented, now, tokens)) {
                Verdict::Accepted(it) if !by.verifier.is_observed() => accepted.push(it),
                Verdict::Accepted(_) | Verdict::Anonymous => {}
                Verdict::Refused(refusal) => {
                    check.notes.unauthenticated(key, by, &refusal);
                    if !by.verifier.is_observed() {
                        refused = Some(refusal.challenge);
                        break;
                    }
                }
            }
        }
    }
    if let Some(challenge) = refused {
        authenticated.kept().challenge = Some(challenge);
        return Err(Reason::Unauthenticated);
    }
    let came = authenticated.0.as_ref().and_then(|it| it.came.as_ref());
    for place in accepted.iter().flat_map(|it| &it.stripped).copied().flatten() {
        // What a filter has put there since is no credential of the client.
        let is_as_it_came = |(headers, uri): &(HeaderMap, Uri)| {
            Presented { headers, uri }.extract(place) == Presented::of(parts).extract(place)
        };
        if came.is_none_or(is_as_it_came) {
            strip(place, parts);
        }
    }
    for (name, value) in accepted.into_iter().flat_map(|it| it.told) {
        parts.headers.insert(name, value);
    }
    Ok(())
}

/// Whether a request needs no credentials.
fn is_exempt(verifier: &Verifier, source: RequestSource<'_>, parts: &Parts) -> Result<bool, Reason> {
    let head = RequestHead::read(parts).map_err(Reason::BadRequest)?;
    let path = Path::new(&head.path);
    let request = Request { method: head.method, host: &head.host, path: &path, headers: head.headers };
    Ok(verifier.exempts(&source.attributes(Some(request))))
}

/// The first authentication that bytes cannot satisfy, of which no request is known.
pub(super) fn of_bytes<'t>(policies: PolicySet<'t>, tables: &'t Tables) -> Option<&'t AuthenticationKey> {
    let is_demanded = |it: &Verifier| !it.is_observed();
    let demanded = |it: Option<&Authenticator>| it.is_none_or(|it| is_demanded(&it.verifier));
    targets(policies, tables).find(|(_, it)| demanded(*it)).map(|(key, _)| key)
}

/// What is known under each name.
fn targets<'t>(
    policies: PolicySet<'t>,
    tables: &'t Tables,
) -> impl Iterator<Item = (&'t AuthenticationKey, Option<&'t Authenticator>)> {
    policies.authentications().map(|key| (key, tables.authentications().get(key)))
}
