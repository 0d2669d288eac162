//! URL rewrites: another host, another path.

use super::{Failure, StageRequest, SyncStage, Verdict, path};
use fairway_config::model::{PathModifier, UrlRewrite};
use http::Uri;
use http::header::HOST;
use http::uri::PathAndQuery;

/// Changes the host or the path that is sent on.
#[derive(Debug)]
pub(super) struct RewriteStage(UrlRewrite);

impl RewriteStage {
    pub(super) fn new(rewrite: &UrlRewrite) -> Self {
        Self(rewrite.clone())
    }
}

impl SyncStage for RewriteStage {
    fn name(&self) -> &'static str {
        "rewrite"
    }

    fn describe(&self) -> String {
        let host = self
            .0
            .hostname
            .as_ref()
            .map(|name| format!("the host becomes {}", name.to_str().unwrap_or_default()));
        let path = self.0.path.as_ref().map(|modifier| match modifier {
            PathModifier::ReplaceFull(path) => format!("the path becomes {path}"),
            PathModifier::ReplacePrefix(prefix) => format!("the prefix that matched becomes {prefix}"),
        });
        host.into_iter().chain(path).collect::<Vec<_>>().join(", ")
    }

    fn on_request<'t>(&'t self, request: &mut StageRequest<'_, 't>) -> Verdict {
        match rewrite(&self.0, request) {
            Ok(()) => Verdict::Continue,
            Err(failure) => Verdict::Fail(failure),
        }
    }
}

/// Fails when the result is no URL, which no filter that was checked brings about.
fn rewrite(rewrite: &UrlRewrite, request: &mut StageRequest<'_, '_>) -> Result<(), Failure> {
    let mut parts = request.parts.uri.clone().into_parts();
    if let Some(modifier) = &rewrite.path {
        let path = path::modify(modifier, request.original.path(), request.attributes.rule.as_ref());
        // A stage before this one may have changed the query.
        let target = match request.parts.uri.query() {
            Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
            None => PathAndQuery::try_from(&*path),
        };
        parts.path_and_query = Some(target.map_err(|_| Failure::NoUrl)?);
    }
    if let Some(hostname) = &rewrite.hostname {
        request.parts.headers.insert(HOST, hostname.clone());
    }
    request.parts.uri = Uri::from_parts(parts).map_err(|_| Failure::NoUrl)?;
    Ok(())
}
