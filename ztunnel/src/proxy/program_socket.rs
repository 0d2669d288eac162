//! The tunnel's sockets to the programs in its pods: bounds on what the kernel keeps for them.
//!
//! These connections stay inside one pod, where a loopback has segments of 64 KiB. Left alone, the kernel lets the tunnel's receive buffer
//! grow by sixteen segments at the first read, so that a program that writes to a reader that stopped leaves a megabyte there. A thousand
//! of them would use up what TCP of the whole node may have (`net.ipv4.tcp_mem`). The program's own send buffer is the program's.

use fairway_netns::socket;
use std::os::fd::AsFd;

/// The longest segment that a program sends to the tunnel, in bytes.
const SEGMENT: u32 = 8 << 10;

/// What may wait for the tunnel to read it, in bytes; the kernel takes twice as much for its own records.
const RECEIVE_BUFFER: usize = 192 << 10;

/// Before a socket connects to a program, or when it listens for one. Without the bound it works as well.
pub(super) fn bound_segments(socket: &impl AsFd) {
    if let Err(error) = socket::bound_segments(socket, SEGMENT) {
        tracing::debug!(%error, "the segments of a pod's program cannot be bounded");
    }
}

/// When the connection is open. Without the bound it works as well.
pub(super) fn bound_receive_buffer(connection: &impl AsFd) {
    if let Err(error) = socket::bound_receive_buffer(connection, RECEIVE_BUFFER) {
        tracing::debug!(%error, "the receive buffer for a pod's program cannot be bounded");
    }
}
