//! A handle to a network namespace.

use crate::thread::{self, ThreadKind};
use crate::{NetnsError, kernel};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::mount::mount_bind;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use tokio::sync::oneshot;

/// A network namespace, which lives at least as long as a handle to it.
#[derive(Clone)]
pub struct Namespace {
    handle: Arc<OwnedFd>,
    id: NamespaceId,
}

/// Tells one namespace from another for as long as both exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId {
    device: u64,
    inode: u64,
}

// === impl Namespace ===

impl Namespace {
    /// Opens a handle: `/proc/<pid>/ns/net`, or what `ip netns` and container runtimes mount.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NetnsError> {
        let path = path.as_ref();
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)
            .and_then(Self::from_handle)
            .map_err(|source| NetnsError::Open { path: path.display().to_string(), source })
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, NetnsError> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// Takes a descriptor that another process sent (a CNI plugin, say), if it is one of a network namespace.
    pub fn from_handle(handle: OwnedFd) -> io::Result<Self> {
        // NS_GET_NSTYPE would need an ioctl; that the file lives on nsfs is as good here, since entering checks the kind.
        const NSFS_MAGIC: u64 = 0x6e73_6673;
        if rustix::fs::fstatfs(&handle)?.f_type as u64 != NSFS_MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a namespace"));
        }
        let stat = rustix::fs::fstat(&handle)?;
        Ok(Self { handle: Arc::new(handle), id: NamespaceId { device: stat.st_dev, inode: stat.st_ino } })
    }

    /// Makes a new, empty namespace. It ends with its last handle, socket and process.
    pub fn create() -> Result<Self, NetnsError> {
        Self::create_and(|_| Ok(()))
    }

    /// Makes a new namespace and mounts its handle on `path` (which is created), where it stays until it is unmounted.
    pub fn create_at(path: impl AsRef<Path>) -> Result<Self, NetnsError> {
        let path = path.as_ref().to_owned();
        Self::create_and(move |handle| {
            std::fs::write(&path, b"")?;
            mount_bind(handle, &path).map_err(io::Error::from)
        })
    }

    // On a thread of its own, which ends in the new namespace and is never used for anything else.
    fn create_and(then: impl FnOnce(&str) -> io::Result<()> + Send + 'static) -> Result<Self, NetnsError> {
        let made = std::thread::spawn(move || {
            kernel::unshare_network().map_err(NetnsError::Create)?;
            then("/proc/thread-self/ns/net").map_err(NetnsError::Create)?;
            Self::current()
        });
        made.join().unwrap_or_else(|_| Err(NetnsError::NoThread(io::Error::from(io::ErrorKind::Other))))
    }

    /// Starts a thread that lives and ends inside the namespace: for programs in a program that open their own sockets.
    pub fn thread<T, F>(
        &self,
        name: &str,
        work: F,
    ) -> Result<std::thread::JoinHandle<Result<T, NetnsError>>, NetnsError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let namespace = self.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                thread::enter(&namespace)
                    .map_err(|source| NetnsError::Enter { namespace: namespace.id(), source })
                    .map(|()| work())
            })
            .map_err(NetnsError::NoThread)
    }

    /// Which namespace this is.
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// Runs a closure of microseconds inside the namespace, on a thread that enters namespaces for that alone: sockets made there stay there.
    pub async fn run<T, F>(&self, work: F) -> Result<T, NetnsError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.run_in(ThreadKind::Sockets, work).await
    }

    /// Runs a closure that may take longer inside the namespace, on another thread: what reads or writes rules, or lists sockets.
    pub async fn run_long<T, F>(&self, work: F) -> Result<T, NetnsError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.run_in(ThreadKind::Rules, work).await
    }

    async fn run_in<T, F>(&self, kind: ThreadKind, work: F) -> Result<T, NetnsError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (send, receive) = oneshot::channel();
        thread::submit(kind, self, work, move |outcome| {
            // Nobody waits any more: what was made is dropped.
            let _ = send.send(outcome);
        })?;
        receive.await.unwrap_or_else(|_| Err(ended()))
    }

    /// The same for a thread without a runtime, which waits.
    pub fn run_blocking<T, F>(&self, work: F) -> Result<T, NetnsError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (send, receive) = mpsc::channel();
        thread::submit(ThreadKind::Sockets, self, work, move |outcome| {
            let _ = send.send(outcome);
        })?;
        receive.recv().unwrap_or_else(|_| Err(ended()))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({})", self.id)
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Namespace {}

// === impl NamespaceId ===

impl fmt::Display for NamespaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.inode)
    }
}

fn ended() -> NetnsError {
    NetnsError::NoThread(io::Error::from(io::ErrorKind::BrokenPipe))
}
