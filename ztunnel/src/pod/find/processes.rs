//! The processes of the node, grouped by pod.

use super::cgroup::pod_uid;
use fairway_netns::Namespace;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of one search.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Uids of all pods that have a process.
    pub(super) alive: HashSet<Arc<str>>,
    /// Network namespaces of the pods that were searched for, by uid.
    pub(super) namespaces: HashMap<Arc<str>, Namespace>,
}

/// Reads all processes below `proc`. The network namespace of a pod is that of its oldest process, the sandbox: a later process
/// may have created a namespace of its own.
pub(super) fn search(proc: &Path, wanted: &HashSet<Arc<str>>) -> Found {
    let mut found = Found::default();
    let mut oldest: HashMap<Arc<str>, (u64, PathBuf)> = HashMap::new();
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    for process in entries.map(|it| it.path()).filter(|it| is_process(it)) {
        let Some(uid) = pod_of(&process) else { continue };
        found.alive.insert(uid.clone());
        if !wanted.contains(&uid) {
            continue;
        }
        let Some(start) = start_of(&process) else { continue };
        let candidate = (start, process);
        let held = oldest.entry(uid).or_insert_with(|| candidate.clone());
        if candidate < *held {
            *held = candidate;
        }
    }
    for (uid, (_, process)) in oldest {
        match Namespace::open(process.join("ns/net")) {
            // The pid may have been reused since.
            Ok(namespace) if pod_of(&process).as_ref() == Some(&uid) => {
                found.namespaces.insert(uid, namespace);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(pod = &*uid, %error, "the network namespace of a pod cannot be opened")
            }
        }
    }
    found
}

fn is_process(path: &Path) -> bool {
    path.file_name().and_then(|it| it.to_str()).is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit()))
}

fn pod_of(process: &Path) -> Option<Arc<str>> {
    pod_uid(&fs::read_to_string(process.join("cgroup")).ok()?).map(Into::into)
}

/// Start time in clock ticks since boot: field 22 of `stat` (proc(5)). Field 2, the command, may contain spaces and
/// parentheses.
fn start_of(process: &Path) -> Option<u64> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "0f4c6b2a-6a55-4a1e-9a0e-2c1f3b7a9d10";
    const IDLE: &str = "11111111-2222-3333-4444-555555555555";

    fn process(proc: &Path, number: &str, group: &str, start: u64) {
        let process = proc.join(number);
        fs::create_dir_all(process.join("ns")).unwrap();
        fs::write(process.join("cgroup"), format!("0::{group}\n")).unwrap();
        let fields = "0 ".repeat(18);
        fs::write(process.join("stat"), format!("{number} (a ) name) S {fields}{start} 0\n")).unwrap();
    }

    #[test]
    fn a_pods_namespace_is_that_of_its_oldest_process() {
        let proc = tempfile::tempdir().unwrap();
        let pod = |uid: &str| format!("/kubepods/pod{uid}/c");
        process(proc.path(), "70", &pod(WEB), 900);
        process(proc.path(), "9", &pod(WEB), 1200); // numbers start over
        process(proc.path(), "71", &pod(IDLE), 100);
        process(proc.path(), "1", "/init.scope", 1);
        fs::create_dir(proc.path().join("sys")).unwrap();
        // Only the oldest has a namespace that can be opened.
        std::os::unix::fs::symlink("/proc/self/ns/net", proc.path().join("70/ns/net")).unwrap();

        let found = search(proc.path(), &HashSet::from([WEB.into(), "gone".into()]));
        assert_eq!(found.alive, HashSet::from([WEB.into(), IDLE.into()]));
        assert_eq!(found.namespaces.keys().map(|it| &**it).collect::<Vec<_>>(), [WEB]);
        assert_eq!(found.namespaces[WEB], Namespace::current().unwrap());
    }
}
