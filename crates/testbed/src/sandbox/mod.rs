//! Namespaces of one's own to play cluster in.
//!
//! Two processes: the one that was started makes the namespaces, starts itself again inside, and waits. The second is the
//! first process of its process namespace, so when it ends, or is killed, or the first is killed, everything that was started
//! within ends with it; and with the last process the namespaces, their links and their mounts are gone.

mod outside;
mod test;

use fairway_netns::link::Links;
use fairway_netns::{Namespace, NetlinkError, NetnsError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Says to the second process that it is the second, and where the handles of network namespaces are to be kept.
const INSIDE: &str = "FAIRWAY_SANDBOX";

/// The inside of a sandbox.
#[derive(Debug)]
pub struct Sandbox {
    node: Namespace,
    handles: PathBuf,
}

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Entered {
    /// The second: go on.
    Inside(Sandbox),
    /// The first, and the second has ended: end likewise.
    Ended(Ended),
}

/// How the second process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    code: u8,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel does not let this user make namespaces.
    #[error("this user may not make namespaces ({what}: {source})\n{remedy}")]
    Forbidden {
        /// The step that failed.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What to type.
        remedy: String,
    },
    /// It was entered too late.
    #[error("the sandbox must be entered before any thread is started")]
    Threads,
    /// Some other step failed.
    #[error("cannot make a sandbox: {what}: {source}")]
    Step {
        /// Which.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The network inside.
    #[error("cannot make a sandbox: {0}")]
    Network(#[from] NetnsError),
    /// The network inside.
    #[error("cannot make a sandbox: {0}")]
    Link(#[from] NetlinkError),
}

// === impl Sandbox ===

impl Sandbox {
    /// Enters: call it at the very start, before there is a second thread or a runtime. The program is started a second
    /// time, inside, with the same arguments.
    pub fn enter() -> Result<Entered, SandboxError> {
        match std::env::var_os(INSIDE) {
            Some(handles) => Self::inside(PathBuf::from(handles)).map(Entered::Inside),
            None => outside::start_inside().map(Entered::Ended),
        }
    }

    fn inside(handles: PathBuf) -> Result<Self, SandboxError> {
        let step = |what| {
            move |source: rustix::io::Errno| SandboxError::Step {
                what,
                source: source.into(),
            }
        };
        if rustix::process::getpid() != rustix::process::Pid::INIT {
            let source = io::Error::other(format!(
                "{INSIDE} is set, but this is not the first process of a sandbox"
            ));
            return Err(SandboxError::Step {
                what: "look around",
                source,
            });
        }
        // With the first process the whole sandbox ends, even if that is killed.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(step("tie this process to its parent"))?;
        Links::open()?.up("lo")?;
        Ok(Self {
            node: Namespace::current()?,
            handles,
        })
    }

    /// The network namespace that plays the node: that of the program itself.
    pub fn node(&self) -> &Namespace {
        &self.node
    }

    /// The directory where the handles of pods' network namespaces are, as `ip netns` has them. Only inside is it full.
    pub fn handles(&self) -> &Path {
        &self.handles
    }
}

// === impl Ended ===

impl Ended {
    /// Whether all was well.
    pub fn is_success(self) -> bool {
        self.code == 0
    }

    /// For `main` to return.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(self.code)
    }
}
