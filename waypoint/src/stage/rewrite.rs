//! URL rewrites.

use super::list::{Failure, FilterContext};
use super::path;
use fairway_config::model::UrlRewrite;
use http::Uri;
use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};

/// Changes what is sent on. Fails when the result is no URL, which no filter that was checked brings about.
pub(super) fn rewrite(
    rewrite: &UrlRewrite,
    request: &mut Parts,
    context: &FilterContext<'_>,
) -> Result<(), Failure> {
    let mut parts = request.uri.clone().into_parts();
    if let Some(modifier) = &rewrite.path {
        let path = path::modified(modifier, context.original.path(), context.matched);
        let target = match context.original.query() {
            Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
            None => PathAndQuery::try_from(&*path),
        };
        parts.path_and_query = Some(target.map_err(|_| Failure::NoUrl)?);
    }
    if let Some(hostname) = &rewrite.hostname {
        if parts.authority.is_some() {
            parts.authority = Some(Authority::try_from(hostname.as_bytes()).map_err(|_| Failure::NoUrl)?);
        }
        request.headers.insert(HOST, hostname.clone());
    }
    request.uri = Uri::from_parts(parts).map_err(|_| Failure::NoUrl)?;
    Ok(())
}
