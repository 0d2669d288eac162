//! The order of the queries. A query reads only queries of earlier stages; see `fairway_incremental::Query::STAGE`.

/// Selectors, by the object that has them.
pub(super) const SELECTORS: u8 = 0;
/// How much the policies of an object compare together.
pub(super) const SUMS: u8 = 1;
/// Which pods a selector selects.
pub(super) const SELECTIONS: u8 = 2;
/// Looks at single objects, or at sets of objects.
pub(super) const OBJECTS: u8 = 3;
/// Puts several objects together: a Gateway with what it refers to, the policies of a Service, a pod.
pub(super) const CHECKED: u8 = 4;
/// What others see of Gateways and ListenerSets.
pub(super) const PLANS: u8 = 5;
/// Where routes could attach, and which proxies could be waypoints.
pub(super) const CLAIMS: u8 = 6;
/// Who wins where several ask for the same.
pub(super) const CONFLICTS: u8 = 7;
/// Routes: their rules resolved, and where they attach.
pub(super) const ROUTES: u8 = 8;
/// What follows from routes: waypoints that are needed, and the statuses that count routes.
pub(super) const CONSEQUENCES: u8 = 9;
/// Services, with the waypoints on the way to them.
pub(super) const SERVICES: u8 = 10;
/// What is about all proxies together.
pub(super) const LAST: u8 = 11;
