//! The system calls for which no crate in use has a safe wrapper. Nothing else is unsafe in the workspace.

use rustix::fd::{AsFd, AsRawFd};
use rustix::thread::UnshareFlags;
use std::io;
use std::mem::size_of;

/// Gives this thread a network namespace of its own.
pub(crate) fn unshare_network() -> io::Result<()> {
    unshare(UnshareFlags::NEWNET)
}

/// Gives this process a user namespace of its own. The kernel refuses a process with more than one thread.
pub fn unshare_user() -> io::Result<()> {
    unshare(UnshareFlags::NEWUSER)
}

/// Gives this process network and mount namespaces of its own, and its children to come a process namespace, whose first
/// process takes all others with it when it ends.
pub fn unshare_sandbox() -> io::Result<()> {
    unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWPID)
}

#[expect(unsafe_code)]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: unsafe only for CLONE_FILES, after which descriptors would mean different things to different threads; the
    // callers, all above, never ask for it.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// Sets an option whose value is an int.
#[expect(unsafe_code)]
pub(crate) fn set_option(
    socket: impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the descriptor is open for the length of the borrow, and the kernel reads exactly the four bytes of `value`,
    // which lives on this stack.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// What a packet socket saw and missed since it was last asked: `(packets, of which dropped)`.
#[expect(unsafe_code)]
pub(crate) fn packet_statistics(socket: impl AsFd) -> io::Result<(u32, u32)> {
    let mut statistics = [0u32; 2];
    let mut length = size_of::<[u32; 2]>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of the array it is given (struct tpacket_stats is
    // two u32), and any bytes are valid u32s.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            statistics.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let [packets, dropped] = statistics;
    if result == 0 {
        Ok((packets, dropped))
    } else {
        Err(io::Error::last_os_error())
    }
}
