//! Which rule serves a request.
//!
//! The work is done at commit: every alternative of every rule stands in its host's table, in the order of precedence,
//! behind an index by path. A request walks from the most specific hostname to the least (a rule of a less specific one
//! is reached if none of the more specific ones matches), and there from the best path match to the worst; the first
//! alternative whose method, headers and query fit is it. The cost depends on the length of the host and the path and on
//! the alternatives that share a path, not on the number of routes.
//!
//! Precedence (HTTPRoute and GRPCRoute API documentation, v1.7.0):
//!
//! 1. the hostname, exact before wildcard, then the longest, of what listener and route both cover; of equal ones the
//!    one whose hostname in the route is the more specific; routes without hostnames last;
//! 2. for gRPC requests, GRPCRoutes of that hostname before its HTTPRoutes; other requests never match a GRPCRoute;
//! 3. the path: exact, then regular expressions (longest first), then prefixes (longest first). The API leaves the place
//!    of expressions open. Before prefixes, an expression beside a catch-all `/` has an effect, which is what its author
//!    meant; after exact paths, it cannot take away what somebody named outright. For GRPCRoute: the service, then the
//!    method, each exact before expression (longest first) before absent;
//! 4. a method match, the number of header matches, the number of query matches;
//! 5. the oldest route, then `namespace/name`, then the first rule, then the first alternative.

mod clean;
mod compiled;
#[cfg(test)]
mod conformance;
mod group;
mod grpc;
mod head;
pub(crate) mod hop;
mod hosts;
mod listener_filters;
#[cfg(test)]
pub(crate) mod oracle;
mod order;
mod paths;
mod predicate;
mod preflight;
mod table;
mod trie;
mod values;
mod weights;

pub use compiled::{ChosenBackend, CompiledRoute, RuleEntry};
pub use head::{BadRequest, RequestHead, is_grpc, read_host, settle_host};
pub use hosts::HostIndex;
pub use listener_filters::ListenerFilters;
pub use predicate::{Mismatch, describe};
pub use table::{HostTable, Member, RouteTable, select};
pub use values::TooLong;
pub use weights::Weights;
