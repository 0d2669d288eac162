//! What is wrong with the command line is said at once, in words that help.

use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairway"))
        .arg("run")
        .args(arguments)
        .args(["--metrics-address", "off", "--readiness-address", "off"])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_flag_that_makes_no_sense_ends_it_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let missing = folder.path().join("missing");
    let file = folder.path().join("file.yaml");
    std::fs::write(&file, "").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let in_use = listener.local_addr().unwrap().to_string();
    for (arguments, code, parts) in [
        (vec![directory, "--admin-address", "nonsense"], 2, ["nonsense", "--admin-address"]),
        (vec![directory, "--admin-address", "0.0.0.0:0"], 1, ["not a loopback address", "--admin-address"]),
        (vec![directory, "--admin-address", &in_use], 1, [&in_use, "--admin-address"]),
        (vec![directory, "--threads", "0"], 2, ["--threads", "1 or more"]),
        (vec![directory, "--threads", "many"], 2, ["--threads", "1 or more"]),
        (vec![directory, "--drain-linger", "5"], 2, ["--drain-linger", "30s"]),
        (vec![directory, "--log", "wrong=="], 1, ["`wrong==` is not a log filter", "info"]),
        (vec![directory, "--trust-domain", "Not A Domain"], 2, ["Not A Domain", "--trust-domain"]),
        (vec![missing.to_str().unwrap()], 1, ["missing cannot be read", "directory of YAML"]),
        (vec![file.to_str().unwrap()], 1, ["file.yaml cannot be read", "directory of YAML"]),
    ] {
        let output = run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments:?}: {parts:?} is not in: {said}");
    }
}
