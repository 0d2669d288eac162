//! The first process: makes the namespaces, starts the second, waits.

use super::{Ended, INSIDE, SandboxError};
use fairway_netns::kernel;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long the second process may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(15);

pub(super) fn start_inside() -> Result<Ended, SandboxError> {
    make_namespaces()?;
    // Nothing that is mounted from here on is seen outside.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(forbidden("make mounts private"))?;
    // The mount point is all there ever is on disk; it goes with the first process.
    let handles = tempfile::Builder::new()
        .prefix("fairway-")
        .tempdir()
        .map_err(|source| SandboxError::Step {
            what: "make a directory for handles",
            source,
        })?;
    mount("tmpfs", handles.path(), "tmpfs", MountFlags::empty(), None).map_err(forbidden("mount a tmpfs"))?;

    let step = |what| move |source| SandboxError::Step { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(step("start a runtime"))?;
    let status = runtime.block_on(async {
        let mut command = tokio::process::Command::new("/proc/self/exe");
        command
            .args(std::env::args_os().skip(1))
            .env(INSIDE, handles.path())
            .kill_on_drop(true);
        if let Some(name) = std::env::args_os().next() {
            command.arg0(name);
        }
        let child = command.spawn()?;
        wait(child).await
    });
    let ended = status.map(ended).map_err(step("run inside"));
    // So that the directory can be removed; the second process has taken its own view of it along.
    let _ = rustix::mount::unmount(handles.path(), rustix::mount::UnmountFlags::DETACH);
    ended
}

fn make_namespaces() -> Result<(), SandboxError> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid.is_root() && kernel::unshare_sandbox().is_ok() {
        return Ok(());
    }
    // An ordinary user, or root in a container that may little: root of a user namespace may all the same.
    kernel::unshare_user().map_err(|source| match source.raw_os_error() {
        Some(error) if error == rustix::io::Errno::INVAL.raw_os_error() => SandboxError::Threads,
        _ => forbidden_by("unshare the user namespace", source),
    })?;
    let write =
        |path, text: String| std::fs::write(path, text).map_err(|source| forbidden_by("map users", source));
    // Without this an ordinary user may not map groups (user_namespaces(7)).
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {} 1", uid.as_raw()))?;
    write("/proc/self/gid_map", format!("0 {} 1", gid.as_raw()))?;
    kernel::unshare_sandbox().map_err(|source| forbidden_by("unshare network, mounts and processes", source))
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

fn ended(status: ExitStatus) -> Ended {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        // As shells say it.
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        (None, None) => u8::MAX,
    };
    Ended { code }
}

fn forbidden(what: &'static str) -> impl Fn(rustix::io::Errno) -> SandboxError {
    move |source| forbidden_by(what, source.into())
}

fn forbidden_by(what: &'static str, source: io::Error) -> SandboxError {
    let switch = |name: &str| {
        std::fs::read_to_string(format!("/proc/sys/{name}"))
            .ok()
            .map(|text| text.trim().to_owned())
    };
    SandboxError::Forbidden {
        what,
        source,
        remedy: remedy(switch),
    }
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
    format!(
        "Allow it until the next boot:\n{}\nor run the same command with sudo.",
        commands.join("\n")
    )
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
            (
                "kernel/unprivileged_userns_clone",
                "0",
                "kernel.unprivileged_userns_clone=1",
            ),
            ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
            ("kernel/unprivileged_userns_clone", "1", "sudo -E"),
        ] {
            let said = remedy(only(name, value));
            assert!(said.contains(expected), "{name}={value}: {said}");
        }
    }

    #[test]
    fn an_end_by_signal_is_no_success() {
        assert!(ended(ExitStatus::from_raw(0)).is_success());
        assert_eq!(ended(ExitStatus::from_raw(3 << 8)).code, 3);
        assert_eq!(ended(ExitStatus::from_raw(9)).code, 137);
    }
}
