//! Every state in which a client can keep a connection of a Gateway ends: docs/limits.md has the table. Where the kernel has no part in it,
//! time is paused.

use crate::support;

mod memory;
mod sockets;
