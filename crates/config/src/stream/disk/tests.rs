use super::*;
use crate::arbitrary;
use crate::model::ObjectName;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;

fn gateway(name: &str) -> Proxy {
    Proxy::Gateway(ObjectName::new("shop", name))
}

fn snapshot(upserts: Vec<Resource>) -> Snapshot {
    Snapshot::default().apply(Delta { generation: Generation(7), upserts, removals: Vec::new() }).0
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn some_resources(count: usize) -> Vec<Resource> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let resources = proptest::collection::vec(arbitrary::resource(), count).new_tree(&mut runner).unwrap();
    proptest::strategy::ValueTree::current(&resources)
}

#[tokio::test]
async fn what_is_saved_is_loaded_and_nobody_else_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    // An old, readable file and a trap where the new one is written.
    fs::write(&path, "old").unwrap();
    std::os::unix::fs::symlink(
        "elsewhere",
        directory.path().join(format!("state.{}.new", std::process::id())),
    )
    .unwrap();

    let snapshot = snapshot(some_resources(50));
    save(&path, &gateway("a"), &snapshot).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

    let saved = load(path, gateway("a")).await.unwrap().unwrap();
    assert_eq!(saved.snapshot, snapshot);
    assert_eq!(saved.hashes.len(), snapshot.resources().count());
}

#[tokio::test]
async fn a_file_that_cannot_be_used_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    assert!(load(path.clone(), gateway("a")).await.unwrap().is_none());

    let good = content(&gateway("a"), &snapshot(some_resources(5)));
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut newer = good.clone();
    newer[MAGIC.len() - 2] = b'2';
    for (content, owner, reason) in [
        (Vec::new(), "a", "is not a kept configuration"),
        (b"rubbish".to_vec(), "a", "is not a kept configuration"),
        (newer, "a", "is not a kept configuration"),
        (good[..good.len() - 1].to_vec(), "a", "is damaged"),
        (flipped, "a", "is damaged"),
        (good.clone(), "b", "is the configuration of gateway shop/a, not of this proxy"),
    ] {
        fs::write(&path, content).unwrap();
        let error = load(path.clone(), gateway(owner)).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let error = load(directory.path().to_owned(), gateway("a")).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot read"), "{error}");
}

#[test]
fn a_resource_that_is_refused_refuses_the_file() {
    let body = proto::SavedSnapshot {
        owner: Some((&Subscription::new(gateway("a"), "")).into()),
        generation: 1,
        resources: vec![vec![0xff].into()],
    }
    .encode_to_vec();
    let content = seal(&body);
    let error = parse(Path::new("state"), &gateway("a"), &content).unwrap_err();
    assert!(matches!(error, LoadError::Refused { .. }), "{error}");
}

proptest! {
    #[test]
    fn noise_behind_a_right_hash_never_panics(body in proptest::collection::vec(any::<u8>(), 0..128)) {
        let content = seal(&body);
        let _ = parse(Path::new("state"), &Proxy::Everything, &content);
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_storm_of_commits_the_first_and_the_last_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let (saver, write) = saver(path.clone(), gateway("a"), watch::channel(true).1);
    let write = tokio::spawn(write);
    for generation in 1..=100 {
        saver.save(&Snapshot { generation: Generation(generation), ..Snapshot::default() });
        tokio::task::yield_now().await;
    }
    let last = async {
        loop {
            tokio::time::sleep(PAUSE).await;
            if let Ok(Some(saved)) = load(path.clone(), gateway("a")).await
                && saved.snapshot.generation == Generation(100)
            {
                return;
            }
        }
    };
    tokio::time::timeout(PAUSE * 60, last).await.expect("the last of the commits is in the file");
    write.abort();
}

#[test]
fn what_another_process_has_begun_to_write_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    // The names that this process and versions before it would use, and another process does use.
    let others = ["state.new", "state.1.new"].map(|name| directory.path().join(name));
    for other in &others {
        fs::write(other, "half of it").unwrap();
    }
    save(&path, &gateway("a"), &snapshot(some_resources(5))).unwrap();
    for other in &others {
        assert_eq!(fs::read(other).unwrap(), b"half of it");
    }
}

#[tokio::test(start_paused = true)]
async fn the_file_of_another_process_is_not_written_and_afterwards_the_newest_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let (owns, owned) = watch::channel(false);
    let (saver, write) = saver(path.clone(), gateway("a"), owned);
    let write = tokio::spawn(write);
    for generation in 1..=3 {
        saver.save(&Snapshot { generation: Generation(generation), ..Snapshot::default() });
        tokio::time::sleep(PAUSE * 2).await;
    }
    assert!(!path.exists());
    owns.send_replace(true);
    let written = async {
        loop {
            tokio::time::sleep(PAUSE).await;
            if let Ok(Some(saved)) = load(path.clone(), gateway("a")).await {
                return saved.snapshot.generation;
            }
        }
    };
    let generation = tokio::time::timeout(PAUSE * 60, written).await;
    assert_eq!(generation.expect("the file is written once it is ours"), Generation(3));
    write.abort();
}
