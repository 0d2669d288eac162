use super::{Directory, DirectoryOptions};
use crate::resources::Edit;
use std::path::Path;
use std::time::Duration;

/// Quick, and with a rescan so late that only the system's own reports can be what is heard.
const OPTIONS: DirectoryOptions = DirectoryOptions {
    quiet: Duration::from_millis(30),
    max_delay: Duration::from_millis(500),
    rescan: Duration::from_secs(3600),
};
const TIMEOUT: Duration = Duration::from_secs(30);

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name} }}\n")
}

async fn next(directory: &mut Directory) -> Vec<String> {
    let batch =
        tokio::time::timeout(TIMEOUT, directory.next_batch()).await.expect("a change is reported").unwrap();
    let name = |it: &Edit| match it {
        Edit::Upsert(it) => format!("+{}", it.meta().name),
        Edit::Remove(it) => format!("-{}", it.name),
    };
    let problems = batch.problems.iter().map(|it| format!("!{}", it.message));
    batch.edits.iter().map(name).chain(problems).collect()
}

async fn watch(root: &Path) -> Directory {
    Directory::watch(root, OPTIONS).unwrap()
}

#[tokio::test]
async fn files_that_come_change_move_and_go_are_seen() {
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str| root.path().join(name);
    std::fs::write(file("a.yaml"), namespace("a")).unwrap();
    std::fs::write(file("ignored.txt"), namespace("x")).unwrap();
    std::fs::write(file(".hidden.yaml"), namespace("x")).unwrap();
    let mut directory = watch(root.path()).await;
    assert_eq!(next(&mut directory).await, ["+a"]);

    std::fs::create_dir(file("deep")).unwrap();
    std::fs::write(file("deep/b.json"), r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}}"#)
        .unwrap();
    assert_eq!(next(&mut directory).await, ["+b"]);

    std::fs::write(file("a.yaml"), namespace("a") + "---\n" + &namespace("c")).unwrap();
    assert_eq!(next(&mut directory).await, ["+c"]);

    // A rename alone changes nothing; what is written after it is what is heard next.
    std::fs::rename(file("a.yaml"), file("moved.yml")).unwrap();
    std::fs::write(file("d.yaml"), namespace("d")).unwrap();
    assert_eq!(next(&mut directory).await, ["+d"]);

    std::fs::remove_file(file("moved.yml")).unwrap();
    assert_eq!(next(&mut directory).await, ["-a", "-c"]);
}

#[tokio::test]
async fn a_half_written_file_leaves_its_objects_in_force() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.yaml");
    std::fs::write(&file, namespace("a")).unwrap();
    let mut directory = watch(root.path()).await;
    next(&mut directory).await;

    std::fs::write(&file, "apiVersion: v1\nkind: Namespace\nmetadata: { na").unwrap();
    let heard = next(&mut directory).await;
    assert!(heard.len() == 1 && heard[0].starts_with('!') && heard[0].contains("stay in force"), "{heard:?}");

    std::fs::write(&file, namespace("b")).unwrap();
    assert_eq!(next(&mut directory).await, ["-a", "+b"]);
}

#[tokio::test]
async fn a_write_in_many_steps_is_one_change() {
    let root = tempfile::tempdir().unwrap();
    let mut directory = watch(root.path()).await;
    assert!(next(&mut directory).await.is_empty(), "the first batch is everything, also if that is nothing");
    for name in ["a", "b", "c", "d"] {
        std::fs::write(root.path().join(name).with_extension("yaml"), namespace(name)).unwrap();
    }
    assert_eq!(next(&mut directory).await, ["+a", "+b", "+c", "+d"]);
}

#[tokio::test]
async fn what_the_system_does_not_report_is_found_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let options = DirectoryOptions { rescan: Duration::from_millis(20), ..OPTIONS };
    let mut directory = Directory::watch(root.path(), options).unwrap();
    directory._watcher = None;
    next(&mut directory).await;
    std::fs::write(root.path().join("a.yaml"), namespace("a")).unwrap();
    assert_eq!(next(&mut directory).await, ["+a"]);
}

#[tokio::test]
async fn a_directory_that_is_taken_away_takes_nothing_with_it() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("config");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("a.yaml"), namespace("a")).unwrap();
    let options = DirectoryOptions { rescan: Duration::from_millis(20), ..OPTIONS };
    let mut directory = Directory::watch(&root, options).unwrap();
    assert_eq!(next(&mut directory).await, ["+a"]);
    std::fs::rename(&root, parent.path().join("elsewhere")).unwrap();
    let heard = next(&mut directory).await;
    assert!(heard.len() == 1 && heard[0].contains("cannot be listed"), "{heard:?}");
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let error = Directory::watch(Path::new("/nonexistent/fairway"), OPTIONS).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/fairway"), "{error}");
}
