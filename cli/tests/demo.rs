//! `fairway demo`: every expectation holds, as whoever runs the tests and as an ordinary user.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // all of it is tests

use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

/// Nobody, by number: the machine may know no name for it.
const ORDINARY_USER: u32 = 65534;

fn play(mut command: Command) {
    let output = command.args(["demo", "--output", "json"]).stdin(Stdio::null()).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {}\n{said}\n{complained}", output.status));
    let results = report["results"].as_array().expect("results");
    let failed: Vec<_> = results.iter().filter(|it| it["held"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}\n{complained}");
    assert!(output.status.success(), "{}\n{complained}", output.status);
    assert_eq!(report["held"].as_u64(), Some(results.len() as u64));
    let has =
        |scene: &str| results.iter().any(|it| it["scene"].as_str().is_some_and(|it| it.contains(scene)));
    for scene in ["Capture and mTLS", "A live change", "The programs"] {
        assert!(has(scene), "nothing was found of `{scene}`: {said}");
    }
}

/// One after the other: each keeps both cores busy, and times what it sees.
#[test]
fn every_expectation_of_the_demo_holds_for_whoever_plays_it() {
    play(Command::new(env!("CARGO_BIN_EXE_fairway")));
    // Whoever is no superuser has just shown that the demo needs none.
    if rustix::process::geteuid().is_root() {
        play_as_ordinary_user();
    }
}

fn play_as_ordinary_user() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    // The build directory may be in a home that others cannot read.
    let program = folder.path().join("fairway");
    std::fs::copy(env!("CARGO_BIN_EXE_fairway"), &program).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    chown(&home, Some(ORDINARY_USER), Some(ORDINARY_USER)).unwrap();

    let mut command = Command::new("setpriv");
    let user = ORDINARY_USER.to_string();
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]).arg(&program);
    command.env("HOME", &home).env("TMPDIR", &home).current_dir(&home);
    if Command::new("setpriv").arg("--version").output().is_err() {
        println!("not played as an ordinary user: there is no setpriv (package util-linux)");
        return;
    }
    play(command);
    let left: Vec<_> = std::fs::read_dir(&home).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(left.is_empty(), "the demo leaves nothing behind: {left:?}");
}
