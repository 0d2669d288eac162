//! What waypoints are called.

/// Where waypoints and tunnels accept HBONE (mTLS, HTTP/2 CONNECT).
pub(in crate::compile) const HBONE_PORT: u16 = 15008;
/// The name of a waypoint that nobody wrote a Gateway for.
pub(in crate::compile) const IMPLIED_WAYPOINT: &str = "waypoint";
/// Its name where a Gateway of another class is called that already.
pub(in crate::compile) const OTHER_IMPLIED_WAYPOINT: &str = "fairway-waypoint";
