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
//!    (waypoint)       └┐
//! Gateway ─ Routed(Service, audience) ─┬ Service
//!                                      ├ Route ─ …
//!                                      └ Backend ─ …
//! ```

mod edges;
mod graph;
#[cfg(test)]
mod tests;
mod view;

pub use edges::{Edge, Point, edges};
pub use graph::Graph;
pub use view::View;
