//! Which resources a proxy needs.
//!
//! Each resource contributes edges to one graph, by looking at nothing but itself: [`edges`]. What a proxy needs is what
//! can be reached from its root. The graph is shared; a [`View`] counts, for one proxy, the ways by which each point is
//! reached, so that an edit costs what it changes and not what there is.
//!
//! ```text
//! Gateway ─ Listener ─┬ Certificate                       Node ─ Local(pod) ─ Authorization
//!                     ├ Route ─ Backend ─┬ Endpoints
//!                     │                  └ Endpoints of the waypoint it is reached through
//!    (waypoint)
//! Gateway ─ Namespace ─ Routed(Service, audience) ─┬ Service ─ Backend ─ …
//!                                                  └ Route ─ …
//! ```
//!
//! A waypoint knows every Service of its namespace, and those its namespace has consumer routes for, whether anybody is sent
//! to it for them or not: tunnels may send it a connection a moment before it hears of a route, or after the route has gone.

mod edges;
mod graph;
#[cfg(test)]
mod tests;
mod view;

pub use edges::{Edge, Point, edges};
pub use graph::Graph;
pub use view::View;
