//! How policies take effect, whatever their kind.
//!
//!  1. [`target`]: what does a policy name, and at which level (Gateway, listener, route, rule, Service, port, pod)?
//!  2. [`attach`]: which policies name this object?
//!  3. [`merge`]: which of them hold? Those about security add up; of all others the oldest holds.
//!  4. Each kind has a module of its own, which makes of those that hold what proxies do. If a part of a policy cannot be
//!     carried out, what it names is closed, and nothing else.
//!  5. [`status`]: what became of a policy, for its owner.
//!
//! [`access`], [`authenticate`], [`backend_tls`], [`client`] and [`limit`] go this way. [`required_waypoint`] has no object of its own, but a label on what it is about: every Service
//! guards its pods, and where several guard one pod, their authorizations add up.

pub(in crate::compile) mod access;
pub(in crate::compile) mod attach;
pub(in crate::compile) mod authenticate;
pub(in crate::compile) mod backend_tls;
pub(in crate::compile) mod client;
pub(in crate::compile) mod limit;
pub(in crate::compile) mod merge;
pub(in crate::compile) mod required_waypoint;
pub(in crate::compile) mod status;
pub(in crate::compile) mod target;
pub(in crate::compile) mod unhandled;

use crate::compile::program::Cluster;
use fairway_incremental::Engine;

/// What is registered with the engine.
pub(in crate::compile) fn register(engine: Engine<Cluster>) -> Engine<Cluster> {
    engine
        .set::<access::OfPods>()
        .set::<attach::Attached>()
        .set::<required_waypoint::Requiring>()
        .of_input::<access::Authorize>()
        .of_input::<access::Select>()
        .of_input::<access::Status>()
        .of_input::<authenticate::Authenticate>()
        .of_input::<authenticate::Select>()
        .of_input::<authenticate::Status>()
        .of_input::<backend_tls::Status>()
        .of_input::<backend_tls::Validate>()
        .of_input::<client::Decide>()
        .of_input::<client::Status>()
        .of_input::<limit::Count>()
        .of_input::<limit::Select>()
        .of_input::<limit::Status>()
        .of_input::<required_waypoint::Authorize>()
        .of_input::<required_waypoint::Guarding>()
        .of_input::<required_waypoint::Select>()
        .of_input::<unhandled::Status>()
}
