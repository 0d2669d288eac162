//! The threads that enter other namespaces: one makes sockets, the other does what may take long.
//!
//! A namespace is a property of a thread. On a thread of the runtime a closure that panics, or a namespace that cannot be
//! left, would put other pods' connections on the wrong network; here nothing else runs.

use crate::Namespace;
use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::any::Any;
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{OnceLock, mpsc};

/// Why work in a namespace was not done.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The handle does not open, or is none of a network namespace.
    #[error("cannot open the network namespace {path}: {source}")]
    Open {
        /// The path that was given.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused to make a network namespace.
    #[error("cannot make a network namespace: {0} (it takes root or a user namespace)")]
    Create(#[source] io::Error),
    /// The kernel does not let this process in.
    #[error("cannot enter the network namespace {namespace}: {source}")]
    Enter {
        /// The namespace that could not be entered.
        namespace: crate::NamespaceId,
        /// What the kernel said.
        source: io::Error,
    },
    /// The namespace was entered, but the socket could not be made there.
    #[error("cannot {what} {address} in {namespace}: {source}")]
    Socket {
        /// The step that failed, as a verb: `bind`, `listen on`, ….
        what: &'static str,
        /// The address that it was to have.
        address: SocketAddr,
        /// The namespace that it was to be in.
        namespace: crate::NamespaceId,
        /// What the kernel said.
        source: io::Error,
    },
    /// The thread that enters namespaces could not be started, or has ended.
    #[error("no thread to enter namespaces with: {0}")]
    NoThread(#[source] io::Error),
    /// The closure panicked; the thread is back home and serves others.
    #[error("work in the network namespace {namespace} panicked: {message}")]
    Panicked {
        /// The namespace that the thread was in.
        namespace: crate::NamespaceId,
        /// The message of the panic.
        message: String,
    },
    /// The closure itself asked for work in a namespace, which would wait for itself for ever.
    #[error("work in a network namespace cannot ask for more work in one")]
    Nested,
}

type Job = Box<dyn FnOnce(&Namespace) + Send>;

thread_local! {
    static IS_NAMESPACE_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Which thread is to do it. A pod with hundreds of thousands of sockets takes a while to list, and holds up nobody's connection meanwhile.
#[derive(Clone, Copy)]
pub(crate) enum ThreadKind {
    /// What takes microseconds: a socket.
    Sockets,
    /// Rules, and lists of sockets.
    Rules,
}

/// Has `work` done on a namespace thread inside `namespace` and hands the outcome to `done` there.
pub(crate) fn submit<T, F, D>(
    kind: ThreadKind,
    namespace: &Namespace,
    work: F,
    done: D,
) -> Result<(), NetnsError>
where
    F: FnOnce() -> T + Send + 'static,
    D: FnOnce(Result<T, NetnsError>) + Send + 'static,
{
    if IS_NAMESPACE_THREAD.get() {
        return Err(NetnsError::Nested);
    }
    let namespace = namespace.clone();
    let job: Job = Box::new(move |home| done(inside(&namespace, home, work)));
    jobs(kind)?.send(job).map_err(|_| NetnsError::NoThread(io::Error::from(io::ErrorKind::BrokenPipe)))
}

type Jobs = OnceLock<Result<mpsc::Sender<Job>, io::ErrorKind>>;

fn jobs(kind: ThreadKind) -> Result<&'static mpsc::Sender<Job>, NetnsError> {
    static SOCKETS: Jobs = Jobs::new();
    static RULES: Jobs = Jobs::new();
    let (jobs, name) = match kind {
        ThreadKind::Sockets => (&SOCKETS, "namespaces"),
        ThreadKind::Rules => (&RULES, "rules"),
    };
    let jobs = jobs.get_or_init(|| {
        let (send, receive) = mpsc::channel::<Job>();
        let home = Namespace::current().map_err(|_| io::ErrorKind::NotFound)?;
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                IS_NAMESPACE_THREAD.set(true);
                for job in receive {
                    job(&home);
                }
            })
            .map_err(|error| error.kind())?;
        Ok(send)
    });
    jobs.as_ref().map_err(|kind| NetnsError::NoThread(io::Error::from(*kind)))
}

fn inside<T>(namespace: &Namespace, home: &Namespace, work: impl FnOnce() -> T) -> Result<T, NetnsError> {
    // Declared before the entering, so that it is left however this function is.
    let outcome = {
        let _return = Return { home };
        enter(namespace).map_err(|source| NetnsError::Enter { namespace: namespace.id(), source })?;
        catch_unwind(AssertUnwindSafe(work))
    };
    outcome.map_err(|panic| NetnsError::Panicked { namespace: namespace.id(), message: message(&*panic) })
}

pub(crate) fn enter(namespace: &Namespace) -> io::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).map_err(io::Error::from)
}

/// Goes home when dropped.
struct Return<'a> {
    home: &'a Namespace,
}

impl Drop for Return<'_> {
    fn drop(&mut self) {
        if let Err(error) = enter(self.home) {
            // Whatever this thread did next, it would do to a pod it was not asked to touch.
            tracing::error!(%error, "cannot return from a network namespace: aborting");
            std::process::abort();
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
