//! The registration socket, bound.

use rustix::fd::OwnedFd;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};

/// A bound registration socket.
#[derive(Debug)]
pub struct Server {
    pub(crate) listener: UnixListener,
    /// A duplicate for the next handoff.
    pub(crate) descriptor: Arc<StdListener>,
}

// === impl Server ===

impl Server {
    /// Binds the socket with mode 0600: whoever can register pods can take over their traffic. Replaces a socket file that
    /// nobody listens on; fails with [`AddrInUse`](io::ErrorKind::AddrInUse) if a process listens.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        let listener = match StdListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(error);
                }
                std::fs::remove_file(path)?;
                StdListener::bind(path)?
            }
            listener => listener?,
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Self::from_listener(listener)
    }

    /// Binds the socket in place of one that a process may still listen on, because that process cannot be talked to.
    pub async fn replace(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Self::bind(path).await,
        }
    }

    /// Listens on the socket that the previous tunnel process has handed off.
    pub(crate) fn inherit(descriptor: OwnedFd) -> io::Result<Self> {
        Self::from_listener(StdListener::from(descriptor))
    }

    fn from_listener(listener: StdListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let descriptor = Arc::new(listener.try_clone()?);
        Ok(Self { listener: UnixListener::from_std(listener)?, descriptor })
    }
}
