//! Which pod a process belongs to, from its `/proc/<pid>/cgroup`. Pure.
//!
//! The name of a pod's group carries its uid; who names groups is the kubelet, and no pod can leave its own:
//!
//! | driver | |
//! |---|---|
//! | cgroupfs | `/kubepods/burstable/pod<uid>/<container>` |
//! | systemd | `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid, _ for ->.slice/cri-containerd-<container>.scope` |
//!
//! Version 1 has a line for each controller, version 2 one; a process in a cgroup namespace of its own sees what is
//! beside it with `/../` before it.

/// The uid of the pod.
pub(super) fn pod_uid(cgroups: &str) -> Option<String> {
    cgroups.lines().find_map(|line| {
        let path = line.splitn(3, ':').nth(2)?;
        // The outermost: below it the pod may name groups as it likes.
        path.split('/').find_map(uid_of_group)
    })
}

fn uid_of_group(name: &str) -> Option<String> {
    let (prefix, uid) = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("pod")?,
        None => ("", name.strip_prefix("pod")?),
    };
    if !(prefix.is_empty() || prefix.ends_with('-')) {
        return None;
    }
    let uid = uid.replace('_', "-");
    is_uid(&uid).then_some(uid)
}

/// A UUID, or the hash that a static pod has.
fn is_uid(text: &str) -> bool {
    let hexadecimal = |it: &str| it.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it));
    match text.len() {
        32 => hexadecimal(text),
        36 => {
            let lengths = text.split('-').map(str::len);
            lengths.eq([8, 4, 4, 4, 12]) && text.split('-').all(hexadecimal)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0f4c6b2a-6a55-4a1e-9a0e-2c1f3b7a9d10";
    const OTHER: &str = "11111111-2222-3333-4444-555555555555";

    #[test]
    fn the_uid_is_read_from_each_drivers_names() {
        let under = UID.replace('-', "_");
        for group in [
            // Version 1, cgroupfs, containerd.
            format!(
                "12:pids:/kubepods/besteffort/pod{UID}/3f2a\n11:memory:/kubepods/besteffort/pod{UID}/3f2a\n"
            ),
            // Version 1, cgroupfs, guaranteed; a line without a path before it.
            format!("1:name=systemd:\n3:cpu,cpuacct:/kubepods/pod{UID}/3f2a"),
            // Version 1, systemd, CRI-O.
            format!("9:devices:/kubepods.slice/kubepods-pod{under}.slice/crio-3f2a.scope"),
            // Version 2, systemd, containerd.
            format!(
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/cri-containerd-3f2a.scope"
            ),
            // Version 2, seen from a cgroup namespace beside it.
            format!("0::/../../kubepods-besteffort-pod{under}.slice/cri-containerd-3f2a.scope"),
            format!("0::/../../pod{UID}/3f2a"),
            // kind: the kubelet is in a group of its own.
            format!(
                "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{under}.slice/cri-containerd-3f2a.scope"
            ),
            format!("0::/kubelet/kubepods/burstable/pod{UID}/3f2a"),
            // containerd's older names with the systemd driver.
            format!(
                "4:freezer:/system.slice/containerd.service/kubepods-burstable-pod{under}.slice:cri-containerd:3f2a/kubepods-burstable-pod{under}.slice"
            ),
            // What a pod makes within its group does not make it another pod.
            format!("0::/kubepods/pod{UID}/3f2a/pod{OTHER}"),
        ] {
            assert_eq!(pod_uid(&group).as_deref(), Some(UID), "{group}");
        }
        // A static pod.
        let hash = "8a5edab282632443219e051e4ade2d1d";
        assert_eq!(pod_uid(&format!("0::/kubepods/burstable/pod{hash}/3f2a")).as_deref(), Some(hash));
    }

    #[test]
    fn what_is_no_pod_has_no_uid() {
        for group in [
            "",
            "0::/",
            "0::/system.slice/containerd.service",
            "0::/user.slice/user-0.slice/session-1.scope",
            "0::/kubepods.slice",
            "0::/kubepods/podsomething/3f2a",
            "0::/libpod-0f4c6b2a6a554a1e9a0e2c1f3b7a9d10.scope",
            "0::/tripod0f4c6b2a_6a55_4a1e_9a0e_2c1f3b7a9d10.slice",
            "garbage",
            "0:pod0f4c6b2a-6a55-4a1e-9a0e-2c1f3b7a9d10",
        ] {
            assert_eq!(pod_uid(group), None, "{group}");
        }
    }
}
