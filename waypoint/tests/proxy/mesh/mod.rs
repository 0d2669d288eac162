//! A waypoint in the mesh: tunnels in and out. One file for each story.

use crate::support;

mod bytes;
mod fixtures;
mod required;
mod services;
mod shares;
mod tunnels;
mod withdrawal;
