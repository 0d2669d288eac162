//! A unix socket that only its owner can use: mode 0600, and never taken from a server that is alive.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::Stream;
use tonic::transport::server::Router;

/// A listening unix socket. Its file is removed when it is dropped.
///
/// Services see who calls: tonic puts its `UdsConnectInfo` with the peer's uid and pid into each request's extensions.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Locked as long as the socket is ours. The file itself stays, as a lock on a removed file guards nothing.
    _lock: File,
}

/// Why a unix socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process serves there.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// There is something that is not ours to remove.
    #[error("{0} exists and is not a socket; remove it or choose another path")]
    NotASocket(PathBuf),
    /// The system says no.
    #[error("cannot {what} {path}: {why}")]
    Io {
        /// The step that failed, as a verb.
        what: &'static str,
        /// The file of the socket, or its folder.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
}

/// Serves until `stop` ends, then lets the calls that are under way end.
pub async fn serve(
    services: Router,
    socket: UnixSocket,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    services.serve_with_incoming_shutdown(socket, stop).await
}

// === impl UnixSocket ===

impl UnixSocket {
    /// Listens at `path`, removing the socket that a process which is no more left there. Call it inside a runtime.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |what: &'static str| move |why| BindError::Io { what, path: path.to_owned(), why };
        let lock = lock(path)?;
        remove_stale(path)?;
        let listening = || -> io::Result<StdUnixListener> {
            let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.bind(&socket2::SockAddr::unix(path)?)?;
            // Nobody can connect before `listen`, so nobody gets in while the mode is still the umask's.
            std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
            socket.listen(128)?;
            Ok(StdUnixListener::from(OwnedFd::from(socket)))
        };
        let listener = listening().and_then(UnixListener::from_std).map_err(failed("listen at"))?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }

    /// The file of the socket that it listens on.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(path: &Path) -> Result<File, BindError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let failed = |why| BindError::Io { what: "lock", path: lock_path.clone(), why };
    let file = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&lock_path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BindError::InUse(path.to_owned())),
        Err(TryLockError::Error(why)) => Err(failed(why)),
    }
}

/// We hold the lock, so a socket that is there belongs to nobody who takes it as we do; one that answers nevertheless
/// (another program's) is left alone.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |what: &'static str| move |why| BindError::Io { what, path: path.to_owned(), why };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed("remove"))
        }
        Err(error) => Err(failed("connect to")(error)),
        Ok(_) => Err(BindError::InUse(path.to_owned())),
    }
}

impl Stream for UnixSocket {
    type Item = io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.listener.poll_accept(cx).map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // The next to bind removes it if this fails.
        let _ = std::fs::remove_file(&self.path);
    }
}
