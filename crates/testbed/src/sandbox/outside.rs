//! The processes that make the sandbox and wait for the one inside.

use super::{Ended, IN_NAMESPACES, STAGE, SandboxError};
use fairway_netns::kernel::{self, Users};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::io::{self, IsTerminal};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long the process inside may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(15);

/// The first process: starts the second and waits for it.
pub(super) fn start_in_namespaces() -> Result<Ended, SandboxError> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let child = in_namespaces(|mut command| {
        command.args(std::env::args_os().skip(1));
        tokio::process::Command::from(command).kill_on_drop(true).spawn()
    })?;
    ended(runtime.block_on(wait(child)))
}

/// The second process: mounts, starts the third and waits for it.
pub(super) fn start_inside() -> Result<Ended, SandboxError> {
    die_with_parent()?;
    // Nothing that is mounted from here on is seen outside.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| forbidden("make mounts private", error.into()))?;
    // The mount point is all there ever is on disk, and goes with this process.
    let handles = tempfile::Builder::new()
        .prefix("fairway-")
        .tempdir()
        .map_err(step("make a directory for handles"))?;
    mount("tmpfs", handles.path(), "tmpfs", MountFlags::empty(), None)
        .map_err(|error| forbidden("mount a tmpfs", error.into()))?;

    let runtime = runtime()?;
    kernel::unshare_processes().map_err(|source| forbidden("make a process namespace", source))?;
    let status = runtime.block_on(async {
        let mut command = this_program();
        command.args(std::env::args_os().skip(1)).env(STAGE, handles.path());
        wait(tokio::process::Command::from(command).kill_on_drop(true).spawn()?).await
    });
    // So that the directory can be removed.
    let _ = unmount(handles.path(), UnmountFlags::DETACH);
    ended(status)
}

/// Has `start` start this program in namespaces of its own: as root of this user namespace, if it is and may, else as root
/// of one of its own.
pub(super) fn in_namespaces<T>(start: impl Fn(Command) -> io::Result<T>) -> Result<T, SandboxError> {
    let with = |users| {
        let mut command = this_program();
        command.env(STAGE, IN_NAMESPACES);
        kernel::start_in_new_namespaces(&mut command, users);
        start(command)
    };
    if rustix::process::geteuid().is_root()
        && let Ok(started) = with(Users::Inherited)
    {
        return Ok(started);
    }
    with(Users::Own).map_err(|source| forbidden("start in new namespaces", source))
}

/// Ends this process when its parent does, even if that is killed.
pub(super) fn die_with_parent() -> Result<(), SandboxError> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| step("tie this process to its parent")(error.into()))
}

fn this_program() -> Command {
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command
}

fn runtime() -> Result<tokio::runtime::Runtime, SandboxError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(step("start a runtime"))
}

async fn wait(mut child: tokio::process::Child) -> io::Result<ExitStatus> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let asked = tokio::select! {
        status = child.wait() => return status,
        // A terminal interrupts both processes itself.
        _ = interrupt.recv() => (!io::stdin().is_terminal()).then_some(Signal::INT),
        _ = terminate.recv() => Some(Signal::TERM),
        _ = hangup.recv() => Some(Signal::HUP),
    };
    if let (Some(pid), Some(signal)) = (pid, asked) {
        // Not waited for yet, so the number is still its own.
        let _ = kill_process(pid, signal);
    }
    tokio::select! {
        status = child.wait() => return status,
        () = tokio::time::sleep(GRACE) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    child.kill().await?;
    child.wait().await
}

fn ended(status: io::Result<ExitStatus>) -> Result<Ended, SandboxError> {
    let status = status.map_err(step("run inside"))?;
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        // As shells say it.
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        (None, None) => u8::MAX,
    };
    Ok(Ended { code })
}

fn step(what: &'static str) -> impl Fn(io::Error) -> SandboxError {
    move |source| SandboxError::Step { what, source }
}

fn forbidden(what: &'static str, source: io::Error) -> SandboxError {
    let switch = |name: &str| {
        std::fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|text| text.trim().to_owned())
    };
    SandboxError::Forbidden { what, source, remedy: remedy(switch) }
}

/// What to type, from the switches by which kernels forbid user namespaces.
fn remedy(switch: impl Fn(&str) -> Option<String>) -> String {
    let known = [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("user/max_user_namespaces", "0", "10000"),
    ];
    let commands: Vec<_> = known
        .iter()
        .filter(|(name, forbids, _)| switch(name).as_deref() == Some(*forbids))
        .map(|(name, _, allows)| format!("    sudo sysctl -w {}={allows}", name.replace('/', ".")))
        .collect();
    if commands.is_empty() {
        return "No known switch forbids it (in a container: run it with --privileged). It works as root:\n    sudo -E \
                <the same command>"
            .to_owned();
    }
    format!("Allow it until the next boot:\n{}\nor run the same command with sudo.", commands.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_names_the_switch_that_forbids() {
        let only = |name: &'static str, value: &'static str| {
            move |asked: &str| (asked == name).then(|| value.to_owned())
        };
        for (name, value, expected) in [
            (
                "kernel/apparmor_restrict_unprivileged_userns",
                "1",
                "kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
            ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
            ("kernel/unprivileged_userns_clone", "1", "sudo -E"),
        ] {
            let said = remedy(only(name, value));
            assert!(said.contains(expected), "{name}={value}: {said}");
        }
    }

    #[test]
    fn an_end_by_signal_is_no_success() {
        let code = |raw| ended(Ok(ExitStatus::from_raw(raw))).unwrap().code;
        assert_eq!((code(0), code(3 << 8), code(9)), (0, 3, 137));
    }
}
