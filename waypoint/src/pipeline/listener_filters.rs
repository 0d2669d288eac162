//! The filters of a listener (GEP-5224): they see a request before its route is matched. They may change what routes look at, and
//! neither the Host nor the listener.

use super::access::{PolicyCheck, PolicySet, RequestSource};
use super::decide::Stop;
use super::execution::{CalloutPlace, Execution, Notes};
use super::stage_chain::{StageChain, StageContext};
use crate::reason::Reason;
use crate::route::ListenerFilters;
use crate::route::hop::Hops;
use crate::stage::RequestAttributes;
use crate::worker::Serving;
use fairway_config::model::CertificateKey;
use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};

/// How a request comes to the filters of its listener.
#[derive(Clone, Copy)]
pub(super) struct Entrance<'t> {
    /// The configuration that it is served by.
    pub serving: &'t Serving,
    /// The port of the listener by which it came.
    pub port: u16,
    /// The certificate for backends that ask for one.
    pub shown: Option<&'t CertificateKey>,
    /// Those of the listener. They judge a request as it came, so that nobody is asked for whom nobody may, and again with those of
    /// its route as the filters have left it. What they count by address is counted here, so that nobody is asked more often than that.
    pub policies: PolicySet<'t>,
}

/// Runs a request through the filters of its listener, up to the one that ends it.
pub(super) async fn pass<'t, E: Execution<'t>>(
    filters: &'t ListenerFilters,
    entrance: Entrance<'t>,
    execution: &E,
    parts: &mut Parts,
    chain: &mut StageChain<'t>,
    notes: &mut E::Notes,
) -> Result<(), Stop> {
    let Entrance { serving, port, shown, policies } = entrance;
    if !policies.is_open() {
        let source = RequestSource::of(execution, port);
        PolicyCheck::new(execution, &serving.tables, policies, source, notes)
            .admit(parts, &mut chain.authenticated)
            .await?;
    }
    // Taken before the filters, so that none of them can take out or forge a mark.
    let passed = Hops::take(&mut parts.headers);
    let (original, host) = (parts.uri.clone(), parts.headers.get(HOST).cloned());
    let attributes = RequestAttributes {
        client_address: execution.caller().address,
        peer: execution.identity(),
        scheme: execution.scheme(),
        port,
        service: None,
        rule: None,
        started: notes.started(),
        deadline: None,
    };
    let place = CalloutPlace { serving, port, shown, passed: &passed, hop: filters.hop() };
    let callouts = execution.callouts(place);
    let context = StageContext { attributes: &attributes, rng: execution.rng(), callout: &callouts };
    chain.pass_listener(filters.stages(), parts, &original, &context).await?;
    drop(callouts);
    keep_host(parts, host);
    passed.restore(&mut parts.headers).map_err(|_| Reason::Loop)?;
    Ok(())
}

/// Gives a request the Host that it came with. What a filter makes of it is ignored, as the API recommends: the listener was chosen
/// by it, and is not chosen again.
fn keep_host(parts: &mut Parts, host: Option<HeaderValue>) {
    match host {
        Some(host) => drop(parts.headers.insert(HOST, host)),
        None => drop(parts.headers.remove(HOST)),
    }
    // An authority in the target would stand for the Host (RFC 9112 §3.2.2).
    if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
        let target = std::mem::take(&mut parts.uri).into_parts().path_and_query;
        parts.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
}

#[cfg(test)]
mod tests;
