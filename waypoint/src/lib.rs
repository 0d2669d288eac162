//! The L7 proxy that every Gateway and every waypoint runs.
#![forbid(unsafe_code)]
