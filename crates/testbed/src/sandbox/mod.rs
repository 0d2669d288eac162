//! Namespaces of one's own to play cluster in.
//!
//! Three processes, all of them the same program with the same arguments. The first starts the second in namespaces of its
//! own. The second mounts what is to be mounted and starts the third, which is the first process of the new process
//! namespace: when it ends, however it ends, everything that was started within ends with it, and with the last process the
//! namespaces, their links and their mounts are gone. Each dies with its parent. Only the third goes on with the program.

mod outside;
mod test;

use fairway_netns::link::Links;
use fairway_netns::{Namespace, NetlinkError, NetnsError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Says to the second process that it is the second ([`IN_NAMESPACES`]), and to the third where the handles of network
/// namespaces are to be kept.
const STAGE: &str = "FAIRWAY_SANDBOX";
const IN_NAMESPACES: &str = "in-namespaces";

/// The inside of a sandbox.
#[derive(Debug)]
pub struct Sandbox {
    node: Namespace,
    handles: PathBuf,
}

/// Whether this is the process that goes on.
#[derive(Debug)]
pub enum Entered {
    /// This process is in the sandbox: go on.
    Inside(Sandbox),
    /// It is not, and the one that did has ended: end likewise.
    Ended(Ended),
}

/// How the process inside ended.
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
        /// The command that allows it.
        remedy: String,
    },
    /// Some other step failed.
    #[error("cannot make a sandbox: {what}: {source}")]
    Step {
        /// The step that failed.
        what: &'static str,
        /// The error of the system call.
        source: io::Error,
    },
    /// The sandbox's network namespace could not be used.
    #[error("cannot make a sandbox: {0}")]
    Network(#[from] NetnsError),
    /// The sandbox's loopback interface could not be set up.
    #[error("cannot make a sandbox: {0}")]
    Link(#[from] NetlinkError),
}

// === impl Sandbox ===

impl Sandbox {
    /// Enters: call it at the very start, since the program is started again inside, with the same arguments, and all that
    /// came before happens again.
    pub fn enter() -> Result<Entered, SandboxError> {
        match std::env::var_os(STAGE) {
            None => outside::start_in_namespaces().map(Entered::Ended),
            Some(stage) if stage == IN_NAMESPACES => outside::start_inside().map(Entered::Ended),
            Some(handles) => Self::inside(PathBuf::from(handles)).map(Entered::Inside),
        }
    }

    fn inside(handles: PathBuf) -> Result<Self, SandboxError> {
        if rustix::process::getpid() != rustix::process::Pid::INIT {
            let source =
                io::Error::other(format!("{STAGE} is set, but this is not the first process of a sandbox"));
            return Err(SandboxError::Step { what: "look around", source });
        }
        outside::die_with_parent()?;
        Links::open()?.up("lo")?;
        Ok(Self { node: Namespace::current()?, handles })
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
