//! The system calls for which no crate in use has a safe wrapper. Nothing else is unsafe in the workspace.

use rustix::fd::{AsFd, AsRawFd};
use rustix::fs::{Mode, OFlags};
use rustix::thread::UnshareFlags;
use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Gives this thread a network namespace of its own.
pub(crate) fn unshare_network() -> io::Result<()> {
    unshare(UnshareFlags::NEWNET)
}

/// The user namespace a new process is to start in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// The child has the namespace of its parent.
    Inherited,
    /// One of its own, in which the user who starts it is root. Any user may have one, unless the kernel is told otherwise.
    Own,
}

/// Has the processes that this thread starts from now on be in a process namespace of their own. The first of them takes all
/// others with it when it ends. This thread can start no more threads.
pub fn unshare_processes() -> io::Result<()> {
    unshare(UnshareFlags::NEWPID)
}

/// Has a process start with network and mount namespaces of its own.
///
/// Between fork and exec, because only a process with one thread may leave its user namespace.
#[expect(unsafe_code)]
pub fn start_in_new_namespaces(command: &mut Command, users: Users) {
    // All that allocates happens here, before the fork.
    let uid_map = format!("0 {} 1", rustix::process::geteuid().as_raw());
    let gid_map = format!("0 {} 1", rustix::process::getegid().as_raw());
    let prepare = move || {
        if users == Users::Own {
            unshare(UnshareFlags::NEWUSER)?;
            // Without this an ordinary user may not map groups (user_namespaces(7)).
            write(c"/proc/self/setgroups", b"deny")?;
            write(c"/proc/self/uid_map", uid_map.as_bytes())?;
            write(c"/proc/self/gid_map", gid_map.as_bytes())?;
        }
        unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS)
    };
    // SAFETY: after the fork of a process with threads only async-signal-safe functions may be called: the closure makes
    // system calls (unshare, openat, write, close) and nothing else; it neither allocates nor locks.
    unsafe { command.pre_exec(prepare) };
}

fn write(path: &CStr, text: &[u8]) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text)?;
    Ok(())
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
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Where `struct tcp_info` (linux/tcp.h) has what a connection has sent and its peer's kernel has not acknowledged, in segments; the size of
/// a segment; what is not sent yet and the window that the peer has announced, in bytes. The last is there since Linux 5.4.
const UNACKNOWLEDGED: usize = 24;
const SEGMENT_SIZE: usize = 16;
const NOT_SENT: usize = 144;
const PEER_WINDOW: usize = 228;

/// What the kernel knows of the receiving end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerWindow {
    /// What it may be sent, in bytes, as of its last acknowledgement.
    pub(crate) window: u32,
    /// What is on its way or waits to be sent, in bytes; an upper bound.
    pub(crate) outstanding: u32,
}

/// The window that the peer of a TCP connection has announced; none where the kernel does not say.
#[expect(unsafe_code)]
pub(crate) fn peer_window(socket: impl AsFd) -> Option<PeerWindow> {
    let mut info = [0u8; PEER_WINDOW + 4];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of the array it is given, and any bytes are valid u8s.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 || (length as usize) < info.len() {
        return None;
    }
    let number = |at: usize| info.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let on_its_way = number(UNACKNOWLEDGED)?.saturating_mul(number(SEGMENT_SIZE)?);
    Some(PeerWindow {
        window: number(PEER_WINDOW)?,
        outstanding: on_its_way.saturating_add(number(NOT_SENT)?),
    })
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
    if result == 0 { Ok((packets, dropped)) } else { Err(io::Error::last_os_error()) }
}
