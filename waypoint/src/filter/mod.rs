//! What a rule does to a request and its response: pure functions over heads, that change them in place or say what to
//! answer. Order: the rule's filters as written, then the chosen backend's; on the way back the backend's, then the rule's.

mod chain;
mod cors;
mod headers;
mod path;
mod redirect;
mod rewrite;
#[cfg(test)]
mod tests;

pub use chain::{Answer, FilterChain, FilterContext, FilterOutcome, Forward, ResponseFilters};
pub use cors::CorsHeaders;
pub use headers::check as check_headers;

use http::HeaderName;

/// A filter that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// Framing and routing are the proxy's: a route that changes these headers could smuggle requests.
    #[error("header `{0}` belongs to the connection and cannot be changed by a filter")]
    ConnectionHeader(HeaderName),
    /// The Host is changed by URLRewrite.
    #[error("the Host is changed with a URLRewrite filter, not with a header modifier")]
    Host,
    /// The API allows one.
    #[error("a rule or backend has at most one CORS filter")]
    ManyCors,
}
