//! Real pods, real capture: two tunnels in one process, each with its pods, and everything on the wire looked at.

mod capture;
mod mesh;
mod traffic;
